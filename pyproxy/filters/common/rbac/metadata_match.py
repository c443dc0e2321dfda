"""Questions about metadata: as values, and as functions built from them.

Envoy: envoy.type.matcher.v3.MetadataMatcher, ValueMatcher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pyproxy.config.matchers import StringMatch
from pyproxy.http.predicates import build_string_predicate

ValuePredicate = Callable[[Any], bool]
MISSING: Final = object()
"""What is found where there is nothing, which is not a null."""


@dataclass(frozen=True, slots=True)
class IsNull:
    """There is a null."""


@dataclass(frozen=True, slots=True)
class IsPresent:
    """There is a value. Not `wanted`, it never fits: neither what is there nor what is not (Envoy)."""

    wanted: bool


@dataclass(frozen=True, slots=True)
class IsBool:
    value: bool


@dataclass(frozen=True, slots=True)
class IsNumber:
    """Exactly `start` where `end` is None; else from `start` to below `end`."""

    start: float
    end: float | None = None


@dataclass(frozen=True, slots=True)
class IsString:
    match: StringMatch


@dataclass(frozen=True, slots=True)
class HasElement:
    """A list of which one element fits."""

    match: ValueMatch


@dataclass(frozen=True, slots=True)
class OneOf:
    matches: tuple[ValueMatch, ...]


ValueMatch: TypeAlias = IsNull | IsPresent | IsBool | IsNumber | IsString | HasElement | OneOf


@dataclass(frozen=True, slots=True)
class MetadataMatch:
    """What lies under `namespace` and the keys of `path`."""

    namespace: str
    path: tuple[str, ...]
    value: ValueMatch
    invert: bool = False


def build_metadata_predicate(match: MetadataMatch) -> Callable[[Mapping[str, Any] | None], bool]:
    """A function that tells whether metadata, by namespace, fits; None is no metadata."""
    keys, fits, invert = (match.namespace, *match.path), build_value_predicate(match.value), match.invert

    def on_metadata(metadata: Mapping[str, Any] | None) -> bool:
        found: Any = metadata
        for key in keys:
            found = found.get(key, MISSING) if isinstance(found, Mapping) else MISSING
        return fits(found) is not invert

    return on_metadata


def build_value_predicate(match: ValueMatch) -> ValuePredicate:
    """A function that tells whether a plain value, or MISSING, fits."""
    match match:
        case IsNull():
            return lambda value: value is None
        case IsPresent(wanted):
            return lambda value: wanted and value is not MISSING
        case IsBool(wanted):
            return lambda value: value is wanted
        case IsNumber(start, end):
            return _number(start, end)
        case IsString(text):
            fits = build_string_predicate(text)
            return lambda value: isinstance(value, str) and fits(value.encode())
        case HasElement(one):
            element = build_value_predicate(one)
            return lambda value: isinstance(value, list | tuple) and any(element(item) for item in value)
        case OneOf(matches):
            predicates = tuple(build_value_predicate(one) for one in matches)
            return lambda value: any(predicate(value) for predicate in predicates)


def _number(start: float, end: float | None) -> ValuePredicate:
    def is_number(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return value == start if end is None else start <= value < end

    return is_number
