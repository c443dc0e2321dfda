"""Plain values (what YAML and JSON give) -> a protobuf message, with every fault and not only the first.

`google.protobuf.json_format` stops at the first fault and knows no paths. Here the tree is walked against the
descriptors; how the fields of a type are filled is worked out once per type.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from pyproxy.config.invalid import Fault, Path
from pyproxy.config.scalars import Misfit, converter, describe, one_of
from pyproxy.config.well_known import FILLERS, Filler, map_key

Put = Callable[["Filling", Any, Any, Path], None]
_NULL_MEANS_NULL = "google.protobuf.Value"
_KEEPS_LISTS = (_NULL_MEANS_NULL, "google.protobuf.ListValue")


@dataclass(slots=True)
class Slot:
    """How one field of a message type is filled."""

    name: str
    camel: str
    put: Put
    oneof: str | None
    merges: bool
    """Whether the field may be given under both of its names: lists and messages add up, scalars do not."""
    takes_null: bool


@dataclass(slots=True)
class Filling:
    """One run over one document."""

    allow_unknown: bool = False
    faults: list[Fault] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    """Unknown fields that were passed over because they are allowed."""

    def fields(self, message: Message, value: Any, path: Path) -> None:
        """Fill the fields of a message from a mapping."""
        if type(value) is not dict:
            self.misfit(path, value, Misfit(f"a mapping with the fields of {message.DESCRIPTOR.full_name}"))
            return
        slots = slots_of(message.DESCRIPTOR)
        oneofs: dict[str, str] | None = None
        for key, item in value.items():
            slot = slots.get(key)
            if slot is None:
                self._unknown(message.DESCRIPTOR, key, path)
                continue
            if item is None and not slot.takes_null:
                continue
            if slot.oneof is not None:
                if oneofs is None:
                    oneofs = {}
                if oneofs.setdefault(slot.oneof, key) != key:
                    self._two_of_one(message.DESCRIPTOR, slot, oneofs[slot.oneof], (*path, slot.name))
                    continue
            if key != slot.name and not slot.merges and value.get(slot.name) is not None:
                self.faults.append(
                    Fault((*path, key), f"is given twice, as {key!r} and as {slot.name!r}", "one of the two")
                )
                continue
            slot.put(self, message, item, (*path, slot.name))

    def misfit(self, path: Path, value: Any, misfit: Misfit) -> None:
        reason = misfit.reason or f"does not take {describe(value)}"
        self.faults.append(Fault(path, reason, misfit.expected, misfit.nearest))

    def unknown_enum(self, path: Path, value: Any, misfit: Misfit) -> None:
        """A name of an enum value that is not known counts as an unknown field."""
        if self.allow_unknown and type(value) is str:
            self.skipped.append(path)
        else:
            self.misfit(path, value, misfit)

    def _unknown(self, descriptor: Any, key: str, path: Path) -> None:
        if self.allow_unknown:
            self.skipped.append((*path, key))
            return
        if key == "<<":
            reason = "merge keys are not supported, neither here nor in Envoy"
            self.faults.append(Fault((*path, key), reason, "the fields themselves, or a whole alias"))
            return
        names = tuple(slots_of(descriptor))
        reason = f"unknown field {key!r} in {descriptor.full_name}"
        expected = one_of(tuple(f.name for f in descriptor.fields)) if len(descriptor.fields) <= 8 else ""
        self.faults.append(Fault((*path, key), reason, expected, nearest_field(descriptor, key, names)))

    def _two_of_one(self, descriptor: Any, slot: Slot, first: str, path: Path) -> None:
        members = tuple(f.name for f in descriptor.oneofs_by_name[slot.oneof or ""].fields)
        self.faults.append(Fault(path, f"is set beside {first!r}", f"only {one_of(members)}"))


@functools.lru_cache(1024)
def nearest_field(descriptor: Descriptor, key: str, names: tuple[str, ...]) -> str:
    """The field that was likely meant: a name like it, or the same name one level below."""
    near = difflib.get_close_matches(key, names, 1, 0.7) or difflib.get_close_matches(key.replace("-", "_"), names, 1)
    if near:
        return near[0]
    for inner in descriptor.fields:
        kind = inner.message_type
        if kind is not None and kind.full_name not in FILLERS and key in kind.fields_by_name:
            return f"{inner.name}.{key}"
    return ""


@functools.cache
def slots_of(descriptor: Descriptor) -> dict[str, Slot]:
    """The fields of a message type by both of their names, proto and JSON."""
    slots: dict[str, Slot] = {}
    for one in descriptor.fields:
        slot = _slot(one)
        slots[one.name] = slots[one.json_name] = slot
    return slots


def _slot(one: FieldDescriptor) -> Slot:
    kind = one.message_type
    if kind is not None and kind.GetOptions().map_entry:
        put = _map(one)
    elif one.is_repeated:
        put = _repeated(one)
    else:
        put = _message(one) if kind is not None else _scalar(one)
    return Slot(
        name=one.name,
        camel=one.json_name,
        put=put,
        oneof=one.containing_oneof.name if one.containing_oneof is not None else None,
        merges=one.is_repeated or kind is not None,
        takes_null=not one.is_repeated and kind is not None and kind.full_name == _NULL_MEANS_NULL,
    )


def _scalar(one: FieldDescriptor) -> Put:
    name, convert, complain = one.name, converter(one), _complaint(one)

    def put(filling: Filling, message: Any, value: Any, path: Path) -> None:
        try:
            setattr(message, name, convert(value))
        except Misfit as misfit:
            complain(filling, path, value, misfit)
        except UnicodeEncodeError:
            filling.misfit(path, value, Misfit("text of Unicode characters"))

    return put


def _message(one: FieldDescriptor) -> Put:
    name, fill = one.name, _filler(_type_of(one))

    def put(filling: Filling, message: Any, value: Any, path: Path) -> None:
        inner = getattr(message, name)
        inner.SetInParent()
        fill(filling, inner, value, path)

    return put


def _repeated(one: FieldDescriptor) -> Put:
    name = one.name
    append = _append_message(one) if one.message_type is not None else _append_scalar(one)
    flat = one.message_type is None or one.message_type.full_name not in _KEEPS_LISTS

    def put(filling: Filling, message: Any, value: Any, path: Path) -> None:
        elements = getattr(message, name)
        if type(value) is not list:
            append(filling, elements, value, (*path, len(elements)))
            return
        for item in _flattened(value) if flat else value:
            append(filling, elements, item, (*path, len(elements)))

    return put


def _append_message(one: FieldDescriptor) -> Put:
    kind = _type_of(one)
    fill, null_is_a_value = _filler(kind), kind.full_name == _NULL_MEANS_NULL

    def append(filling: Filling, elements: Any, item: Any, path: Path) -> None:
        added = elements.add()
        if item is not None or null_is_a_value:
            fill(filling, added, item, path)

    return append


def _append_scalar(one: FieldDescriptor) -> Put:
    convert, complain = converter(one), _complaint(one)
    empty: Any = "" if one.type == one.TYPE_STRING else b"" if one.type == one.TYPE_BYTES else 0

    def append(filling: Filling, elements: Any, item: Any, path: Path) -> None:
        try:
            elements.append(empty if item is None else convert(item))
        except Misfit as misfit:
            complain(filling, path, item, misfit)
            # A placeholder keeps the indexes of the elements after it.
            elements.append(empty)

    return append


def _map(one: FieldDescriptor) -> Put:
    name = one.name
    entry = _type_of(one).fields_by_name
    key_of = map_key(entry["key"].cpp_type)
    value_field = entry["value"]
    assign = _assign_message(value_field) if value_field.message_type is not None else _assign_scalar(value_field)

    def put(filling: Filling, message: Any, value: Any, path: Path) -> None:
        if type(value) is not dict:
            filling.misfit(path, value, Misfit("a mapping"))
            return
        entries = getattr(message, name)
        for key, item in value.items():
            try:
                assign(filling, (entries, key_of(key)), item, (*path, key))
            except (KeyError, Misfit):
                filling.misfit((*path, key), key, Misfit("another kind of key"))

    return put


def _assign_message(one: FieldDescriptor) -> Put:
    kind = _type_of(one)
    fill, null_is_a_value = _filler(kind), kind.full_name == _NULL_MEANS_NULL

    def assign(filling: Filling, entry: Any, item: Any, path: Path) -> None:
        entries, key = entry
        added = entries[key]
        if item is not None or null_is_a_value:
            fill(filling, added, item, path)

    return assign


def _assign_scalar(one: FieldDescriptor) -> Put:
    convert, complain = converter(one), _complaint(one)
    empty: Any = "" if one.type == one.TYPE_STRING else b"" if one.type == one.TYPE_BYTES else 0

    def assign(filling: Filling, entry: Any, item: Any, path: Path) -> None:
        entries, key = entry
        try:
            entries[key] = empty if item is None else convert(item)
        except Misfit as misfit:
            complain(filling, path, item, misfit)

    return assign


def _type_of(one: FieldDescriptor) -> Descriptor:
    assert one.message_type is not None
    return one.message_type


def _filler(descriptor: Descriptor) -> Filler:
    return FILLERS.get(descriptor.full_name) or Filling.fields  # type: ignore[return-value]


def _complaint(one: FieldDescriptor) -> Callable[[Filling, Path, Any, Misfit], None]:
    return Filling.unknown_enum if one.type == one.TYPE_ENUM else Filling.misfit


def _flattened(items: list[Any]) -> Iterator[Any]:
    """Protobuf's reader takes lists inside the list of a repeated field as one list."""
    for item in items:
        if type(item) is list:
            yield from _flattened(item)
        else:
            yield item
