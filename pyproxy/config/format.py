"""Format strings as values: `%REQ(X?Y):Z%` and its kin, parsed once.

Used by access logs, header values and local replies. `telemetry.formatter` builds functions from them.
Envoy: "Access log format strings" (substitution formatter). This file holds the values and the parser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Union


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
    sort_properties: bool = False
