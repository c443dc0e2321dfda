"""What is inside a `google.protobuf.Any`, and in the structs that stand for messages."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from pyproxy.config.descriptors import UnknownType, class_of_url
from pyproxy.config.descriptors import message_class as message_class
from pyproxy.config.descriptors import pool as pool
from pyproxy.config.fill import Filling
from pyproxy.config.invalid import Fault, InvalidConfig, Path

_TYPED_STRUCTS = ("xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct")


def plain_struct(struct: Message) -> dict[str, Any]:
    """A `google.protobuf.Struct` as plain Python values."""
    plain: dict[str, Any] = json_format.MessageToDict(struct)
    return plain


def unpack(packed: Message, *, allow_unknown: bool = False) -> Message:
    """The message inside an Any; a TypedStruct becomes the message that it describes.

    Raises UnknownType where the type is unknown, and InvalidConfig where a struct does not fit its type.
    """
    type_url: str = packed.type_url  # type: ignore[attr-defined]
    cls = class_of_url(type_url)
    try:
        message = cls.FromString(packed.value)  # type: ignore[attr-defined]
    except DecodeError:
        raise UnknownType(f"the bytes are not a {type_url!r}") from None
    if message.DESCRIPTOR.full_name not in _TYPED_STRUCTS:
        return message
    inner = class_of_url(message.type_url)()  # type: ignore[attr-defined]
    filling = Filling(allow_unknown)
    filling.fields(inner, plain_struct(message.value), ())  # type: ignore[attr-defined]
    if filling.faults:
        raise InvalidConfig(filling.faults)
    return inner


def unpack_at(packed: Message, path: Path, *, allow_unknown: bool = False) -> Message:
    """`unpack` for an Any at a place of the configuration. Raises InvalidConfig, with whole paths."""
    try:
        return unpack(packed, allow_unknown=allow_unknown)
    except UnknownType as error:
        raise InvalidConfig([Fault(path, str(error), error.expected, error.nearest)]) from None
    except InvalidConfig as error:
        raise InvalidConfig(
            Fault((*path, *fault.path), fault.reason, fault.expected, fault.nearest) for fault in error.faults
        ) from None
