"""Plain values -> the messages that protobuf's JSON form treats specially: durations, structs, wrappers, Any.

Each filler takes (filling, message, value, path) and leaves the message as it is where the value does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pyproxy.config.descriptors import UnknownType, class_of_url
from pyproxy.config.invalid import Path
from pyproxy.config.scalars import Misfit, converter, integer

_DURATION = re.compile(r"(-?)([0-9]+)(?:\.([0-9]{1,9}))?s")
_LOOSE_DURATION = re.compile(r"([0-9]*\.?[0-9]+)\s*(ns|us|ms|s|m|h)?", re.IGNORECASE)
_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_MAX_SECONDS = 315_576_000_000
_DURATION_EXPECTED = "a duration in seconds with the suffix 's', such as '0.25s'"


class Filling(Protocol):
    """What the fillers need of `fill.Filling`."""

    def misfit(self, path: Path, value: Any, misfit: Misfit) -> None: ...

    def fields(self, message: Message, value: Any, path: Path) -> None: ...


Filler = Callable[[Filling, Any, Any, Path], None]


def duration(filling: Filling, message: Any, value: Any, path: Path) -> None:
    """Text such as `0.25s`; an object of `seconds` and `nanos` is taken too, as by Envoy."""
    if type(value) is dict:
        filling.fields(message, value, path)
        return
    match = _DURATION.fullmatch(value) if type(value) is str else None
    if match is None:
        filling.misfit(path, value, Misfit(_DURATION_EXPECTED, _likely_duration(value)))
        return
    sign, seconds, fraction = match.groups()
    factor = -1 if sign else 1
    if int(seconds) > _MAX_SECONDS:
        filling.misfit(path, value, Misfit("a duration of at most 10,000 years"))
        return
    message.seconds = factor * int(seconds)
    if fraction:
        message.nanos = factor * int(fraction.ljust(9, "0"))


def _likely_duration(value: Any) -> str:
    match = _LOOSE_DURATION.fullmatch(str(value).strip()) if type(value) in (str, int, float) else None
    if match is None:
        return ""
    seconds = float(match[1]) * _UNITS[(match[2] or "").lower()]
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def _from_json_text(expected: str) -> Filler:
    def fill(filling: Filling, message: Any, value: Any, path: Path) -> None:
        if type(value) is dict:
            filling.fields(message, value, path)
            return
        try:
            message.FromJsonString(value)
        except (ValueError, AttributeError, TypeError):
            filling.misfit(path, value, Misfit(expected))

    return fill


def wrapper(filling: Filling, message: Any, value: Any, path: Path) -> None:
    """`UInt32Value` and its like: the bare value, or an object with `value`."""
    if type(value) is dict:
        filling.fields(message, value, path)
        return
    try:
        message.value = converter(message.DESCRIPTOR.fields_by_name["value"])(value)
    except Misfit as misfit:
        filling.misfit(path, value, misfit)


def struct(filling: Filling, message: Any, value: Any, path: Path) -> None:
    if type(value) is not dict:
        filling.misfit(path, value, Misfit("a mapping"))
        return
    _put_struct(message, value)


def any_value(filling: Filling, message: Any, value: Any, path: Path) -> None:
    _put_value(message, value)


def list_value(filling: Filling, message: Any, value: Any, path: Path) -> None:
    if type(value) is not list:
        filling.misfit(path, value, Misfit("a list"))
        return
    for item in value:
        _put_value(message.values.add(), item)


def _put_struct(message: Any, value: dict[str, Any]) -> None:
    fields = message.fields
    for key, item in value.items():
        _put_value(fields[key], item)


def _put_value(message: Any, value: Any) -> None:
    kind = type(value)
    if kind is str:
        message.string_value = value
    elif kind is bool:
        message.bool_value = value
    elif kind in (int, float):
        message.number_value = value
    elif kind is dict:
        message.struct_value.SetInParent()
        _put_struct(message.struct_value, value)
    elif kind is list:
        message.list_value.SetInParent()
        for item in value:
            _put_value(message.list_value.values.add(), item)
    else:
        message.null_value = 0


def packed_any(filling: Filling, message: Any, value: Any, path: Path) -> None:
    """`@type` says which message it is; the other keys are its fields."""
    if type(value) is not dict:
        filling.misfit(path, value, Misfit("a mapping with '@type'"))
        return
    type_url = value.get("@type")
    if type_url is None:
        if value:
            filling.misfit(path, value, Misfit("'@type' with the type URL", reason="has no '@type'"))
        return
    if type(type_url) is not str or not type_url.partition("/")[0] or "/" not in type_url:
        likely = f"type.googleapis.com/{type_url}" if type(type_url) is str and type_url else ""
        expected = "a type URL with a host, such as type.googleapis.com/envoy.config..."
        filling.misfit((*path, "@type"), type_url, Misfit(expected, likely))
        return
    try:
        inner = class_of_url(type_url)()
    except UnknownType as error:
        filling.misfit((*path, "@type"), type_url, Misfit(error.expected, error.nearest, str(error)))
        return
    _fill_inner(filling, inner, {key: item for key, item in value.items() if key != "@type"}, path)
    message.type_url = type_url
    message.value = inner.SerializeToString(deterministic=True)


def _fill_inner(filling: Filling, inner: Message, fields: dict[str, Any], path: Path) -> None:
    special = FILLERS.get(inner.DESCRIPTOR.full_name)
    if special is None:
        filling.fields(inner, fields, path)
        return
    for key, item in fields.items():
        if key == "value":
            special(filling, inner, item, (*path, key))
        else:
            reason = f"unknown field {key!r} beside the type {inner.DESCRIPTOR.full_name}"
            filling.misfit((*path, key), item, Misfit("'value'", reason=reason))


def map_key(kind: int) -> Callable[[str], Any]:
    """How the keys of a map are read; `kind` is a `FieldDescriptor.CPPTYPE_*`."""
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return str
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return {"true": True, "false": False}.__getitem__
    return integer(-(1 << 63), (1 << 64) - 1)


FILLERS: dict[str, Filler] = {
    "google.protobuf.Any": packed_any,
    "google.protobuf.Duration": duration,
    "google.protobuf.Timestamp": _from_json_text("a time such as '2026-01-31T12:00:00Z'"),
    "google.protobuf.FieldMask": _from_json_text("names of fields, separated by commas"),
    "google.protobuf.Struct": struct,
    "google.protobuf.Value": any_value,
    "google.protobuf.ListValue": list_value,
    **{
        f"google.protobuf.{kind}Value": wrapper
        for kind in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
    },
}
