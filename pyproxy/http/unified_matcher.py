"""Functions from the matching API's values: what is looked at goes in, and the action comes out.

A matcher inside of another that finds nothing is as if its predicate had not held (xds.type.matcher.v3: OnMatch).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, TypeVar

from pyproxy.config.matchers import StringMatch
from pyproxy.config.unified_matcher import (
    AllOf,
    AnyOf,
    ExactMap,
    IpRanges,
    Matcher,
    MatchList,
    Not,
    OnMatch,
    Predicate,
    PrefixMap,
    Single,
)
from pyproxy.http.predicates import build_string_predicate

T = TypeVar("T")
Find = Callable[[T], Any]
"""Gives the action, or None."""
Value = Callable[[T], str | None]
InputOf = Callable[[Any], Value[T]]


def build_matcher(matcher: Matcher, input_of: InputOf[T]) -> Find[T]:
    """`input_of` builds the function that gives the value of an input, None where there is none."""
    otherwise = _nothing if matcher.otherwise is None else _then(matcher.otherwise, input_of)
    match matcher:
        case MatchList(fields):
            return _list([(_predicate(one, input_of), _then(then, input_of)) for one, then in fields], otherwise)
        case ExactMap(source, values):
            return _exact(input_of(source), {key: _then(one, input_of) for key, one in values.items()}, otherwise)
        case PrefixMap(source, values):
            longest = sorted(values.items(), key=lambda item: -len(item[0]))
            return _prefix(input_of(source), [(key, _then(one, input_of)) for key, one in longest], otherwise)
        case IpRanges(source, ranges):
            found = [(network, _then(one, input_of), exclusive) for network, one, exclusive in ranges]
            return _ranges(input_of(source), found, otherwise)


def _nothing(_subject: Any) -> None:
    return None


def _then(on_match: OnMatch, input_of: InputOf[T]) -> Find[T]:
    if on_match.matcher is not None:
        return build_matcher(on_match.matcher, input_of)
    action = on_match.action
    return lambda _subject: action


def _list(fields: list[tuple[Callable[[T], bool], Find[T]]], otherwise: Find[T]) -> Find[T]:
    def find(subject: T) -> Any:
        for holds, then in fields:
            if holds(subject):
                action = then(subject)
                if action is not None:
                    return action
        return otherwise(subject)

    return find


def _exact(value_of: Value[T], values: dict[str, Find[T]], otherwise: Find[T]) -> Find[T]:
    def find(subject: T) -> Any:
        value = value_of(subject)
        then = None if value is None else values.get(value)
        action = None if then is None else then(subject)
        return otherwise(subject) if action is None else action

    return find


def _prefix(value_of: Value[T], values: list[tuple[str, Find[T]]], otherwise: Find[T]) -> Find[T]:
    def find(subject: T) -> Any:
        value = value_of(subject)
        if value is not None:
            for prefix, then in values:
                if value.startswith(prefix):
                    action = then(subject)
                    if action is not None:
                        return action
        return otherwise(subject)

    return find


def _ranges(value_of: Value[T], ranges: list[tuple[Any, Find[T], bool]], otherwise: Find[T]) -> Find[T]:
    def find(subject: T) -> Any:
        value = value_of(subject)
        if value is not None:
            address = ipaddress.ip_address(value)
            narrowest = True
            for network, then, exclusive in ranges:
                if address in network and (narrowest or not exclusive):
                    narrowest = False
                    action = then(subject)
                    if action is not None:
                        return action
        return otherwise(subject)

    return find


def _predicate(predicate: Predicate, input_of: InputOf[T]) -> Callable[[T], bool]:
    match predicate:
        case Single(source, match):
            value_of, fits = input_of(source), _fits(match)
            return lambda subject: (value := value_of(subject)) is not None and fits(value)
        case AllOf(predicates):
            every = [_predicate(one, input_of) for one in predicates]
            return lambda subject: all(one(subject) for one in every)
        case AnyOf(predicates):
            some = [_predicate(one, input_of) for one in predicates]
            return lambda subject: any(one(subject) for one in some)
        case Not(inner):
            holds = _predicate(inner, input_of)
            return lambda subject: not holds(subject)


def _fits(match: StringMatch) -> Callable[[str], bool]:
    fits = build_string_predicate(match)
    return lambda value: fits(value.encode())
