"""Messages to JSON and back, as protobuf defines it, in the compact form that Envoy writes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from pyproxy.transcoding.bindings import enum_number
from pyproxy.transcoding.error import TranscodingError

_MOST_NESTED = 100
_WHOLE = 1e15
_ESCAPED = re.compile("[<>\u007f\u0085\u2028\u2029\ufeff]")
"""What may be taken for something else in a browser (protobuf's JSON writer)."""


@dataclass(frozen=True, slots=True)
class PrintOptions:
    """As `GrpcJsonTranscoder.PrintOptions` says it."""

    whitespace: bool = False
    primitive_fields: bool = False
    """Fields without presence are written even if they are unset."""
    enums_as_ints: bool = False
    proto_names: bool = False


def to_json(message: Message, options: PrintOptions, pool: DescriptorPool) -> bytes:
    """Raises TranscodingError where a message is not valid."""
    try:
        made: Any = json_format.MessageToDict(
            message,
            always_print_fields_with_no_presence=options.primitive_fields,
            preserving_proto_field_name=options.proto_names,
            use_integers_for_enums=options.enums_as_ints,
            descriptor_pool=pool,
        )
    except (json_format.SerializeToJsonError, TypeError, ValueError) as error:
        raise TranscodingError("INTERNAL", str(error)) from error
    made = _short_numbers(made)
    if options.whitespace:
        text = json.dumps(made, ensure_ascii=False, indent=1) + "\n"
    else:
        text = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
    return _ESCAPED.sub(_escape, text).encode("utf-8", "replace")


def _short_numbers(value: Any) -> Any:
    """Floating point numbers that are whole are written without a fraction."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        return int(value)
    if isinstance(value, dict):
        return {key: _short_numbers(one) for key, one in value.items()}
    return [_short_numbers(one) for one in value] if isinstance(value, list) else value


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def parse(text: bytes) -> Any:
    """A JSON value. Raises TranscodingError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TranscodingError("INVALID_ARGUMENT", f"the body is no JSON: {error}") from error


def into(message: Message, value: Any, pool: DescriptorPool, *, any_case: bool = False) -> None:
    """Fill a message from a JSON value; fields that it does not have are passed over. Raises TranscodingError.

    `any_case`: names of enums may be written as one likes.
    """
    if not isinstance(value, dict):
        raise TranscodingError("INVALID_ARGUMENT", ": Root element must be a message.")
    _number_enums(message.DESCRIPTOR, value, "", any_case=any_case)
    try:
        json_format.ParseDict(
            value, message, ignore_unknown_fields=True, descriptor_pool=pool, max_recursion_depth=_MOST_NESTED
        )
    except (json_format.ParseError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise TranscodingError("INVALID_ARGUMENT", str(error)) from error


def _number_enums(descriptor: Any, value: Any, path: str, *, any_case: bool) -> None:
    """Write enums as numbers: protobuf for Python passes over names that it does not know."""
    if not isinstance(value, dict) or descriptor.full_name.startswith("google.protobuf."):
        return
    for field in descriptor.fields:
        if field.enum_type is None and field.message_type is None:
            continue
        for name in {field.name, field.json_name} & value.keys():
            inside, where = value[name], f"{path}{field.name}"
            kind = field
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                kind = field.message_type.fields_by_name["value"]
            if isinstance(inside, list):
                places: list[tuple[Any, Any]] = [(inside, at) for at in range(len(inside))]
            elif kind is not field and isinstance(inside, dict):
                places = [(inside, key) for key in inside]
            else:
                places = [(value, name)]
            for holder, key in places:
                if kind.enum_type is not None and isinstance(holder[key], str):
                    holder[key] = _number(kind, holder[key], where, any_case=any_case)
                elif kind.message_type is not None:
                    _number_enums(kind.message_type, holder[key], f"{where}.", any_case=any_case)


def _number(field: Any, name: str, path: str, *, any_case: bool) -> int:
    try:
        return enum_number(field, name, any_case=any_case)
    except ValueError as error:
        kind = f"type.googleapis.com/{field.enum_type.full_name}"
        raise TranscodingError("INVALID_ARGUMENT", f'{path}: invalid value "{name}" for type {kind}') from error
