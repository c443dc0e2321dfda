"""The private descriptor pool, and what is inside a `google.protobuf.Any`.

The pool is private so that the xDS descriptors can never clash with other packages' copies of the same files.
"""

from __future__ import annotations

import difflib
import functools
from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

_TYPED_STRUCTS = ("xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct")


class UnknownType(Exception):
    """An Any whose type is not known, or whose bytes are not of that type."""

    def __init__(self, reason: str, expected: str = "", nearest: str = "") -> None:
        super().__init__(reason)
        self.expected = expected
        self.nearest = nearest


@functools.cache
def pool() -> DescriptorPool:
    """The xDS v3 descriptors, loaded once."""
    files = descriptor_pb2.FileDescriptorSet.FromString(
        resources.files("pyproxy.config").joinpath("xds.binpb").read_bytes()
    )
    made = DescriptorPool()
    for file in files.file:
        made.Add(file)
    return made


@functools.cache
def message_class(full_name: str) -> type[Message]:
    """The class of a message by its full name. Raises KeyError where there is none."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(full_name))


@functools.cache
def _type_names() -> tuple[str, ...]:
    files = descriptor_pb2.FileDescriptorSet.FromString(
        resources.files("pyproxy.config").joinpath("xds.binpb").read_bytes()
    )
    return tuple(f"{f.package}.{m.name}" for f in files.file for m in f.message_type)


def class_of_url(type_url: str) -> type[Message]:
    """The class that a type URL names. Raises UnknownType with the nearest known name."""
    full_name = type_url.rpartition("/")[2]
    try:
        return message_class(full_name)
    except KeyError:
        near = difflib.get_close_matches(full_name, _type_names(), 1, 0.6)
        raise UnknownType(
            f"unknown type {type_url!r}",
            "the type URL of an Envoy v3 message, such as type.googleapis.com/envoy.config...",
            f"type.googleapis.com/{near[0]}" if near else "",
        ) from None


def plain_struct(struct: Message) -> dict[str, Any]:
    """A `google.protobuf.Struct` as plain Python values."""
    plain: dict[str, Any] = json_format.MessageToDict(struct)
    return plain


def unpack(packed: Message) -> Message:
    """The message inside an Any; a TypedStruct becomes the message that it describes."""
    type_url: str = packed.type_url  # type: ignore[attr-defined]
    cls = class_of_url(type_url)
    try:
        message = cls.FromString(packed.value)  # type: ignore[attr-defined]
    except DecodeError:
        raise UnknownType(f"the bytes are not a {type_url!r}") from None
    if message.DESCRIPTOR.full_name not in _TYPED_STRUCTS:
        return message
    inner = class_of_url(message.type_url)()  # type: ignore[attr-defined]
    try:
        return json_format.ParseDict(plain_struct(message.value), inner, descriptor_pool=pool())  # type: ignore[attr-defined]
    except json_format.ParseError as error:
        raise UnknownType(f"the struct does not fit {message.type_url!r}: {error}") from None  # type: ignore[attr-defined]
