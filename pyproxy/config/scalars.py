"""Plain values -> protobuf scalars, as Envoy's JSON reader takes them.

It is wide: numbers may be text and text may hold hexadecimal numbers; names of enum values may be in lower case; base64
may be of either alphabet and without padding. It is strict where a mistake would hide: a number is never text.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import math
import re
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

Converter = Callable[[Any], Any]

_LISTED = 12
_HEXADECIMAL = re.compile(r"[-+]?0[xX][0-9a-fA-F]+")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_TRUE = frozenset(("true", "t", "yes", "y", "1"))
_FALSE = frozenset(("false", "f", "no", "n", "0"))
_NOT_FINITE = {
    "nan": math.nan,
    **dict.fromkeys(("inf", "infinity", "+inf", "+infinity"), math.inf),
    **dict.fromkeys(("-inf", "-infinity"), -math.inf),
}


class Misfit(Exception):
    """A value that a field cannot take."""

    def __init__(self, expected: str, nearest: str = "", reason: str = "") -> None:
        super().__init__(reason or expected)
        self.expected = expected
        self.nearest = nearest
        self.reason = reason


def describe(value: object) -> str:
    """A plain value in words, for a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the bool {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {value if len(value) <= 60 else value[:57] + '...'!r}"
    return "a list" if isinstance(value, list) else "a mapping"


def converter(field: FieldDescriptor) -> Converter:
    """How the values of a scalar field are read."""
    if field.enum_type is not None:
        return enum(field.enum_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return raw
    return _BY_CPP_TYPE[field.cpp_type]


def text(value: Any) -> str:
    if type(value) is str:
        return value
    if value is None or isinstance(value, list | dict):
        raise Misfit("text")
    raise Misfit("text in quotes")


def boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    if type(value) is str and (word := value.lower()) in _TRUE | _FALSE:
        return word in _TRUE
    raise Misfit("true or false")


def integer(low: int, high: int) -> Converter:
    """A converter for whole numbers within bounds."""
    expected = f"a whole number from {low} to {high}"

    def convert(value: Any) -> int:
        number = value if type(value) is int else _whole(value)
        if number is None or not low <= number <= high:
            raise Misfit(expected)
        return number

    return convert


def _whole(value: Any) -> int | None:
    if type(value) is str:
        if _HEXADECIMAL.fullmatch(value):
            return int(value, 16)
        if value.isascii() and value.isdigit():
            return int(value)
        if not _DECIMAL.fullmatch(value):
            return None
        if "." not in value and "e" not in value.lower():
            return int(value)
        value = float(value)
    if type(value) is float and value.is_integer():
        return int(value)
    return None


def floating(value: Any) -> float:
    if type(value) in (int, float):
        return float(value)
    if type(value) is str:
        word = value.strip(" ")
        if _DECIMAL.fullmatch(word):
            return float(word)
        if _HEXADECIMAL.fullmatch(word):
            return float(int(word, 16))
        if (special := _NOT_FINITE.get(word.lower())) is not None:
            return special
    raise Misfit("a number")


def single(value: Any) -> float:
    """A 32-bit float: what is too large for it is infinite, as in C."""
    number = floating(value)
    if math.isfinite(number) and abs(number) > 3.4028235677973366e38:
        return math.copysign(math.inf, number)
    return number


def raw(value: Any) -> bytes:
    if type(value) is str and value.isascii():
        body = value.rstrip("=")
        if len(value) == len(body) or len(value) % 4 == 0:
            padded = body.replace("-", "+").replace("_", "/") + "=" * (-len(body) % 4)
            try:
                return base64.b64decode(padded, validate=True)
            except binascii.Error:
                pass
    raise Misfit("bytes in base64")


def enum(descriptor: EnumDescriptor) -> Converter:
    """A converter for the values of one enum, by name (of any case) or number."""
    numbers: dict[str, int] = {value.name: value.number for value in descriptor.values}
    upper = {name.upper(): number for name, number in numbers.items()}
    names = tuple(numbers)
    number_of = integer(-(1 << 31), (1 << 31) - 1)

    def convert(value: Any) -> int:
        if type(value) is str and (found := numbers.get(value, upper.get(value.upper()))) is not None:
            return found
        if type(value) is int or (type(value) is str and value.isascii() and value.isdigit()):
            return int(number_of(value))
        near = difflib.get_close_matches(str(value).upper().replace("-", "_"), names, 1, 0.5)
        raise Misfit(one_of(names), "".join(near))

    return convert


def one_of(names: tuple[str, ...]) -> str:
    """`one of A, B, C`, cut where the list gets long."""
    return f"one of {', '.join(names[:_LISTED])}" + (", ..." if len(names) > _LISTED else "")


_BY_CPP_TYPE: dict[int, Converter] = {
    FieldDescriptor.CPPTYPE_INT32: integer(-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: integer(-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: integer(0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: integer(0, (1 << 64) - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: floating,
    FieldDescriptor.CPPTYPE_FLOAT: single,
    FieldDescriptor.CPPTYPE_BOOL: boolean,
    FieldDescriptor.CPPTYPE_STRING: text,
}
