"""The matching API as values (xds.type.matcher.v3.Matcher). `http.unified_matcher` builds functions from them.

What an input is, and what an action, is known to whoever asks: both are opaque here, and inputs can be hashed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyproxy.config.filter_chain_match import Network
from pyproxy.config.matchers import StringMatch


@dataclass(frozen=True, slots=True)
class OnMatch:
    """An action, or a matcher that finds one."""

    action: Any = None
    matcher: Matcher | None = None


@dataclass(frozen=True, slots=True)
class Single:
    """The value of an input fits."""

    input: Any
    match: StringMatch


@dataclass(frozen=True, slots=True)
class AllOf:
    predicates: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    predicates: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    predicate: Predicate


Predicate = Single | AllOf | AnyOf | Not


@dataclass(frozen=True, slots=True)
class MatchList:
    """The first predicate that holds, and that leads to an action, decides."""

    fields: tuple[tuple[Predicate, OnMatch], ...]
    otherwise: OnMatch | None = None


@dataclass(frozen=True, slots=True)
class ExactMap:
    input: Any
    values: Mapping[str, OnMatch] = field(hash=False)
    otherwise: OnMatch | None = None


@dataclass(frozen=True, slots=True)
class PrefixMap:
    """The longest prefix that leads to an action decides."""

    input: Any
    values: Mapping[str, OnMatch] = field(hash=False)
    otherwise: OnMatch | None = None


@dataclass(frozen=True, slots=True)
class IpRanges:
    """The narrowest range that leads to an action decides; an exclusive one only if no narrower one fits."""

    input: Any
    ranges: tuple[tuple[Network, OnMatch, bool], ...]
    otherwise: OnMatch | None = None


Matcher = MatchList | ExactMap | PrefixMap | IpRanges
