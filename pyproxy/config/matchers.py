"""Matchers as values: strings, headers, query parameters, fractions, ranges.

`http.predicates` builds functions from them. Envoy: envoy.type.matcher.v3, envoy.config.route.v3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class StringKind(Enum):
    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    CONTAINS = "contains"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class StringMatch:
    """A `StringMatcher`. A regex must match the whole string (Envoy: RE2 FullMatch); `ignore_case` is not for it."""

    kind: StringKind
    value: str
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class RangeMatch:
    """An `Int64Range`: start included, end excluded."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """A `HeaderMatcher`. `name` is lower-case; pseudo-headers have their HTTP/2 names (`:path`, `:method`, ...).

    Exactly one of `string`, `range`, `present` is set.
    """

    name: bytes
    string: StringMatch | None = None
    range: RangeMatch | None = None
    present: bool | None = None
    invert: bool = False
    missing_as_empty: bool = False


@dataclass(frozen=True, slots=True)
class QueryMatch:
    """A `QueryParameterMatcher`. `string` None means that presence is enough."""

    name: str
    string: StringMatch | None = None
    present: bool = True


@dataclass(frozen=True, slots=True)
class Fraction:
    """A `RuntimeFractionalPercent`: the share numerator/denominator, or what the runtime key says."""

    numerator: int
    denominator: int
    runtime_key: str = ""
