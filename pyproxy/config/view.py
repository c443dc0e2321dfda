"""A protobuf message as the compilers read it: it knows its path and remembers which fields were asked for.

A field that is set and that no compiler asked for is a field that we do not honour. So the list of what is
not honoured cannot go stale: it is what the code does not read.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pyproxy.config import any_message
from pyproxy.config.invalid import Fault, InvalidConfig, Path, Report

T = TypeVar("T")

_NANOS = 1e-9
_INSIDE = "(any)"


class View:
    """One message at one place of the configuration.

    Every reader marks the field as honoured. Readers of unset fields give None (messages, wrappers) or the
    proto3 default (scalars); use `has` where unset and default differ.
    """

    __slots__ = ("_children", "_read", "message", "path", "report")

    def __init__(self, message: Message, path: Path, report: Report) -> None:
        self.message = message
        self.path = path
        self.report = report
        self._read: set[str] = set()
        self._children: dict[Path, View] = {}

    @property
    def type_name(self) -> str:
        """The full protobuf name, such as `envoy.config.route.v3.Route`."""
        return str(self.message.DESCRIPTOR.full_name)

    # Readers

    def has(self, name: str) -> bool:
        """Whether a message, wrapper, optional or oneof field is set. Does not mark it."""
        return bool(self.message.HasField(name))

    def oneof(self, name: str) -> str | None:
        """Which field of a oneof is set. Does not mark that field."""
        which: str | None = self.message.WhichOneof(name)
        return which

    def scalar(self, name: str) -> Any:
        """A string, bytes, number, bool or enum number; the proto3 default where unset."""
        self._read.add(name)
        return getattr(self.message, name)

    def text(self, name: str) -> str:
        return str(self.scalar(name))

    def enum(self, name: str) -> str:
        """The name of an enum value, such as `ROUND_ROBIN`; the number as text if it has no name."""
        return self._enum_name(name, self.scalar(name))

    def child(self, name: str) -> View | None:
        """A sub-message, or None where unset."""
        self._read.add(name)
        if not self.message.HasField(name):
            return None
        return self._child(getattr(self.message, name), (*self.path, name))

    def need(self, name: str) -> View:
        """A sub-message that must be there."""
        found = self.child(name)
        if found is None:
            self.fail(name, "is required")
        return found

    def wrapped(self, name: str) -> Any:
        """The value inside a wrapper (`UInt32Value`, `BoolValue`, ...), or None where unset."""
        self._read.add(name)
        if not self.message.HasField(name):
            return None
        return getattr(self.message, name).value

    def seconds(self, name: str) -> float | None:
        """A `google.protobuf.Duration` in seconds, or None where unset."""
        self._read.add(name)
        if not self.message.HasField(name):
            return None
        duration = getattr(self.message, name)
        return float(duration.seconds + duration.nanos * _NANOS)

    def scalars(self, name: str) -> tuple[Any, ...]:
        """A repeated field of scalars."""
        self._read.add(name)
        return tuple(getattr(self.message, name))

    def enums(self, name: str) -> tuple[str, ...]:
        """A repeated field of enum values, by their names."""
        return tuple(self._enum_name(name, number) for number in self.scalars(name))

    def children(self, name: str) -> list[View]:
        """A repeated field of messages."""
        self._read.add(name)
        return [self._child(m, (*self.path, name, i)) for i, m in enumerate(getattr(self.message, name))]

    def entries(self, name: str) -> dict[str, View]:
        """A map from strings to messages."""
        self._read.add(name)
        found = getattr(self.message, name)
        return {str(key): self._child(found[key], (*self.path, name, str(key))) for key in sorted(found)}

    def strings(self, name: str) -> dict[str, Any]:
        """A map from strings to scalars."""
        self._read.add(name)
        return dict(getattr(self.message, name))

    def struct(self, name: str) -> dict[str, Any] | None:
        """A `google.protobuf.Struct` as plain Python values, or None where unset."""
        self._read.add(name)
        if not self.message.HasField(name):
            return None
        return any_message.plain_struct(getattr(self.message, name))

    def any(self, name: str) -> View | None:
        """The message inside a `google.protobuf.Any` (a TypedStruct is unwrapped), or None where unset.

        Raises InvalidConfig where the type URL is unknown or the bytes do not fit it.
        """
        self._read.add(name)
        if not self.message.HasField(name):
            return None
        return self._unpacked(getattr(self.message, name), (*self.path, name))

    def unwrap(self) -> View:
        """This view, which is of a `google.protobuf.Any`, as a view of the message inside."""
        return self._unpacked(self.message, self.path)

    def ignore(self, *names: str) -> None:
        """Mark fields that, not honoured, change neither traffic nor security, or that mean nothing here."""
        self._read.update(names)

    def honour_all(self) -> None:
        """Mark everything below as honoured (the message is kept whole and shown, not interpreted)."""
        self._read.update(f.name for f in self.message.DESCRIPTOR.fields)

    # Faults

    def fail(self, name: str, reason: str, *, expected: str = "", nearest: str = "") -> NoReturn:
        """Reject the message because of one of its fields ('' for the message itself)."""
        path = (*self.path, name) if name else self.path
        raise InvalidConfig([Fault(path, reason, expected, nearest)])

    def fail_unknown(self, name: str, what: str, value: str, known: Iterable[str]) -> NoReturn:
        """Reject a name that is not one of `known`, with the nearest one."""
        names = sorted(known)
        near = difflib.get_close_matches(value, names, 1, 0.5)
        listing = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        self.fail(name, f"unknown {what} {value!r}", expected=f"one of {listing}", nearest="".join(near))

    def each(self, name: str, compile_one: Callable[[View], T]) -> tuple[T, ...]:
        """Compile every element of a repeated field; a faulty one does not hide the faults of the others."""
        done: list[T] = []
        for element in self.children(name):
            with self.report.isolate():
                done.append(compile_one(element))
        return tuple(done)

    # What was not read

    def unread(self) -> list[tuple[Path, str]]:
        """Fields that are set and were not asked for, here and below: (path of the field, its full name)."""
        found = [
            ((*self.path, descriptor.name), str(descriptor.full_name))
            for descriptor, _ in self.message.ListFields()
            if descriptor.name not in self._read
        ]
        for child in self._children.values():
            found.extend(child.unread())
        return found

    def _unpacked(self, packed: Message, path: Path) -> View:
        """Unpacking makes a new message each time, so what was unpacked is kept under a key of its own."""
        view = self._children.get((*path, _INSIDE))
        if view is None:
            message = any_message.unpack_at(packed, path, allow_unknown=self.report.allow_unknown_fields)
            view = self._children[*path, _INSIDE] = View(message, path, self.report)
        return view

    def _child(self, message: Message, path: Path) -> View:
        """One view for one message: two readers may each look at a part of it."""
        view = self._children.get(path)
        if view is None or view.message is not message:
            view = self._children[path] = View(message, path, self.report)
        return view

    def _enum_name(self, name: str, number: int) -> str:
        value = self._field(name).enum_type.values_by_number.get(number)  # type: ignore[union-attr]
        return value.name if value is not None else str(number)

    def _field(self, name: str) -> FieldDescriptor:
        return cast(FieldDescriptor, self.message.DESCRIPTOR.fields_by_name[name])
