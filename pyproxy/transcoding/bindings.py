"""Fields of a request that come from its path and its query, as texts."""

from __future__ import annotations

import base64
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pyproxy.transcoding.error import TranscodingError

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}
_KINDS = {value: name for name, value in vars(FieldDescriptor).items() if name.startswith("TYPE_")}
_FLOATS = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)
_BOOLS = {
    word: word in ("true", "t", "yes", "y", "1")
    for word in ["true", "t", "yes", "y", "1", "false", "f", "no", "n", "0"]
}
"""What protobuf takes for one."""


def bind(message: Message, path: tuple[str, ...], text: str, *, any_case: bool = False) -> None:
    """Set, or append to, the field at `path`. `any_case`: of names of enums. Raises TranscodingError."""
    holder: Any = message
    field = _field(message.DESCRIPTOR, path[0])
    for name in path[1:]:
        assert field.message_type is not None
        holder = getattr(holder, field.name)
        holder.SetInParent()
        field = _field(field.message_type, name)
    if field.message_type is not None:
        try:
            _bind_message(holder, field, text)
        except (json_format.ParseError, TypeError, ValueError, AttributeError) as error:
            raise _wrong(field, path, text) from error
        return
    try:
        value = _value(field, text, any_case=any_case)
    except ValueError as error:
        raise _wrong(field, path, text) from error
    if field.is_repeated:
        getattr(holder, field.name).append(value)
    else:
        setattr(holder, field.name, value)


def _field(message: Any, name: str) -> FieldDescriptor:
    """That it is there was seen before."""
    found: FieldDescriptor | None = message.fields_by_name.get(name)
    return next(field for field in message.fields if field.json_name == name) if found is None else found


def _bind_message(holder: Any, field: FieldDescriptor, text: str) -> None:
    """Types that JSON writes as texts or numbers: wrappers, times, field masks."""
    into = getattr(holder, field.name)
    target = into.add() if field.is_repeated else into
    assert field.message_type is not None
    wrapped = field.message_type.fields_by_name.get("value")
    value: Any = text
    if field.message_type.full_name.endswith("Value") and wrapped is not None and wrapped.message_type is None:
        plain = _value(wrapped, text)
        value = base64.b64encode(plain).decode() if isinstance(plain, bytes) else plain
    json_format.ParseDict(value, target)


def _value(field: FieldDescriptor, text: str, *, any_case: bool = False) -> Any:
    """Raises ValueError."""
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return _bytes(text) if field.type == FieldDescriptor.TYPE_BYTES else text
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        if text.lower() not in _BOOLS:
            raise ValueError(text)
        return _BOOLS[text.lower()]
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return enum_number(field, text, any_case=any_case)
    if kind in _FLOATS:
        return float(text)
    number = int(text)
    least, most = _INTEGERS[kind]
    if not least <= number <= most:
        raise ValueError(text)
    return number


def enum_number(field: FieldDescriptor, text: str, *, any_case: bool) -> int:
    """By name or number. Raises ValueError."""
    assert field.enum_type is not None
    found = field.enum_type.values_by_name.get(text)
    if found is None and any_case:
        wanted = text.replace("-", "_").upper()
        found = next((one for one in field.enum_type.values if one.name.upper() == wanted), None)
    return int(text) if found is None else int(found.number)


def _bytes(text: str) -> bytes:
    """Either alphabet of base64, with or without the padding. Raises ValueError."""
    data = text.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(data + "=" * (-len(data) % 4), validate=True)


def _wrong(field: FieldDescriptor, path: tuple[str, ...], text: str) -> TranscodingError:
    kind = f"type.googleapis.com/{field.enum_type.full_name}" if field.enum_type is not None else _KINDS[field.type]
    return TranscodingError("INVALID_ARGUMENT", f'{".".join(path)}: invalid value "{text}" for type {kind}')
