"""Configuration as JSON for people to read: as it was loaded, with secrets blotted out.

Envoy marks what must not be shown with an option in its protobuf files (`udpa.annotations.sensitive`): everything
inside such a field is replaced. What is inside an Any is looked at too.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from pyproxy.config import any_message, descriptors

_TEXT = "[redacted]"
_EXACT = 1e15
_ANY = "google.protobuf.Any"
_TYPED_STRUCTS = ("xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct")


def as_dict(message: Message) -> dict[str, Any]:
    """proto3 JSON with the names of the protobuf files; defaults left out; without secrets."""
    copy = type(message)()
    copy.CopyFrom(message)
    _redact(copy)
    plain: dict[str, Any] = json_format.MessageToDict(
        copy, preserving_proto_field_name=True, descriptor_pool=descriptors.pool()
    )
    whole: dict[str, Any] = whole_numbers(plain)
    return whole


def whole_numbers(value: Any) -> Any:
    """A number of a Struct is a double; protobuf's own printers leave out the point where it is whole."""
    match value:
        case dict():
            return {key: whole_numbers(item) for key, item in value.items()}
        case list():
            return [whole_numbers(item) for item in value]
        case float() if value.is_integer() and abs(value) < _EXACT:
            return int(value)
        case _:
            return value


def _redact(message: Message, *, all_of_it: bool = False) -> None:
    if message.DESCRIPTOR.full_name == _ANY:
        _redact_any(message, all_of_it=all_of_it)
        return
    for field, value in message.ListFields():
        secret = all_of_it or _is_sensitive(field.full_name)
        if field.message_type is None:
            if secret:
                _blot(message, field, value)
        else:
            for child in _children(field, value):
                _redact(child, all_of_it=secret)
            if secret and _is_map(field) and field.message_type.fields_by_name["value"].message_type is None:
                for key in value:
                    value[key] = _blank(field.message_type.fields_by_name["value"])


def _redact_any(packed: Any, *, all_of_it: bool) -> None:
    """An Any of a type that we do not know cannot be shown at all."""
    try:
        inner = descriptors.class_of_url(packed.type_url).FromString(packed.value)
    except descriptors.UnknownType:
        packed.Clear()
        return
    if inner.DESCRIPTOR.full_name in _TYPED_STRUCTS:
        _redact_typed_struct(inner)
    else:
        _redact(inner, all_of_it=all_of_it)
    packed.value = inner.SerializeToString()


def _redact_typed_struct(typed: Any) -> None:
    """The message that the struct stands for knows which of its fields are secret."""
    cls = descriptors.class_of_url(typed.type_url)
    pool = descriptors.pool()
    meant = json_format.ParseDict(
        any_message.plain_struct(typed.value), cls(), ignore_unknown_fields=True, descriptor_pool=pool
    )
    before = meant.SerializeToString(deterministic=True)
    _redact(meant)
    if meant.SerializeToString(deterministic=True) != before:
        shown = json_format.MessageToDict(meant, preserving_proto_field_name=True, descriptor_pool=pool)
        typed.value.Clear()
        typed.value.update(shown)


def _children(field: Any, value: Any) -> Iterator[Message]:
    if _is_map(field):
        if field.message_type.fields_by_name["value"].message_type is not None:
            yield from value.values()
    elif field.is_repeated:
        yield from value
    else:
        yield value


def _is_map(field: Any) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)


def _blot(message: Message, field: Any, value: Any) -> None:
    """Text and bytes are replaced, everything else is taken away."""
    blank = _blank(field)
    if blank is None:
        message.ClearField(field.name)
    elif field.is_repeated:
        value[:] = [blank] * len(value)
    else:
        setattr(message, field.name, blank)


def _blank(field: Any) -> Any:
    if field.type == field.TYPE_STRING:
        return _TEXT
    return _TEXT.encode() if field.type == field.TYPE_BYTES else None


@functools.cache
def _is_sensitive(full_name: str) -> bool:
    """The option is in the private pool, so the default pool's options carry it as an unknown field."""
    pool = descriptors.pool()
    options = pool.FindFieldByName(full_name).GetOptions().SerializeToString()
    if not options:
        return False
    known: Any = descriptors.message_class("google.protobuf.FieldOptions").FromString(options)
    return bool(known.Extensions[pool.FindExtensionByName("udpa.annotations.sensitive")])
