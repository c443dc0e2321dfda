"""Format strings as values: `%REQ(X?Y):Z%` and its kin, parsed once.

Used by access logs, header values and local replies. `telemetry.formatter` builds functions from them.
Envoy: "Access log format strings" (substitution formatter). This file holds the values and the parser; it takes
and refuses what Envoy 1.40 takes and refuses.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

from pyproxy.config.format_operators import OPERATORS, BadOperator, check_operator


@dataclass(frozen=True, slots=True)
class Operator:
    """One `%NAME(argument):length%`. `argument` is the raw text between the parentheses, None without them.

    `length` is the most characters to give, None for all.
    """

    name: str
    argument: str | None = None
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """Literal text and operators, in order."""

    parts: tuple[str | Operator, ...]
    omit_empty: bool = False
    """Unset operators give an empty string in place of `-`."""


JsonValue = Union[Format, str, int, float, bool, None, "JsonObject", "JsonArray"]


@dataclass(frozen=True, slots=True)
class JsonArray:
    items: tuple[JsonValue, ...]


@dataclass(frozen=True, slots=True)
class JsonObject:
    """Keys in the order in which they are written."""

    items: tuple[tuple[str, JsonValue], ...]

    @staticmethod
    def of(mapping: Mapping[str, JsonValue]) -> JsonObject:
        return JsonObject(tuple(mapping.items()))


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """A `json_format`: one JSON object a line. `omit_empty` leaves out what is unset."""

    root: JsonObject
    omit_empty: bool = False


class BadFormat(Exception):
    """A format string that cannot be used. `expected` and `nearest` are as in a Fault."""

    def __init__(self, reason: str, expected: str = "", nearest: str = "") -> None:
        super().__init__(reason)
        self.expected = expected
        self.nearest = nearest


# `%NAME(argument):length%`. As in Envoy the argument ends at the first `)` after which the rest fits, so it may hold
# parentheses and percent signs itself, but no newline.
_COMMAND = re.compile(r"%([A-Z0-9_]+)(?:\((.*?)\))?(?::([0-9]+))?%")
_MAX_LENGTH = (1 << 64) - 1
_EXACT = 1 << 53

# Notations that only header values know; Envoy rewrites them to the general ones.
_LEGACY_METADATA = re.compile(r"%(UPSTREAM|DYNAMIC)_METADATA\(\[(.*?)\]\)%")
_LEGACY_STATE = re.compile(r"%PER_REQUEST_STATE\((.*?)\)%")


@functools.lru_cache(maxsize=1024)
def parse_format(text: str, *, omit_empty: bool = False) -> Format:
    """A format string as a value; equal ones share it. Raises BadFormat."""
    parts: list[str | Operator] = []
    literal = ""
    at = 0
    while at < len(text):
        percent = text.find("%", at)
        if percent < 0:
            percent = len(text)
        literal += text[at:percent]
        at = percent
        if text.startswith("%%", at):
            literal += "%"
            at += 2
        elif at < len(text):
            found = _COMMAND.match(text, at)
            if found is None:
                raise BadFormat(
                    f"there is no valid operator at character {at} of {text!r}", "%OPERATOR%, or %% for a percent sign"
                )
            if literal:
                parts.append(literal)
                literal = ""
            parts.append(_operator(found))
            at = found.end()
    if literal:
        parts.append(literal)
    return Format(tuple(parts), omit_empty)


@functools.lru_cache(maxsize=1024)
def parse_header_format(text: str) -> Format:
    """The value of a header to add: a format string that may also use the older notations of header values."""
    text = _LEGACY_METADATA.sub(_metadata_path, text)
    text = _LEGACY_STATE.sub(r"%FILTER_STATE(\1:PLAIN)%", text)
    return parse_format(text)


def parse_json_format(fields: Mapping[str, Any], *, omit_empty: bool = False) -> JsonFormat:
    """A `json_format`. Envoy writes the keys of every object in the order of their bytes. Raises BadFormat."""
    return JsonFormat(_json_object(fields), omit_empty)


def _operator(found: re.Match[str]) -> Operator:
    name, argument, length = found.groups()
    rule = OPERATORS.get(name)
    if rule is None:
        near = difflib.get_close_matches(name, OPERATORS, 1, 0.6)
        raise BadFormat(f"unknown operator %{name}%", "an operator of Envoy's access logs", "".join(near))
    limit = int(length) if length else None
    if limit is not None and limit > _MAX_LENGTH:
        raise BadFormat(f"the length of %{name}% is too large", f"at most {_MAX_LENGTH}")
    try:
        check_operator(name, rule, argument or "", limit)
    except BadOperator as error:
        raise BadFormat(str(error), error.expected) from None
    return Operator(name, argument or None, limit)


def _metadata_path(found: re.Match[str]) -> str:
    """`%UPSTREAM_METADATA(["ns", "key"])%` as `%UPSTREAM_METADATA(ns:key)%`."""
    keys = [key.strip() for key in found[2].split(",")]
    if not all(len(key) > 1 and key[0] == key[-1] == '"' for key in keys):
        return found[0]
    return f"%{found[1]}_METADATA({':'.join(key[1:-1] for key in keys)})%"


def _json_value(value: Any) -> JsonValue:
    if isinstance(value, str):
        return parse_format(value) if "%" in value else value
    if isinstance(value, Mapping):
        return _json_object(value)
    if isinstance(value, list):
        return JsonArray(tuple(_json_value(item) for item in value))
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)  # a Struct knows only doubles; Envoy writes 1, not 1.0
    plain: int | float | bool | None = value
    return plain


def _json_object(fields: Mapping[str, Any]) -> JsonObject:
    return JsonObject(tuple((key, _json_value(fields[key])) for key in sorted(fields, key=str.encode)))
