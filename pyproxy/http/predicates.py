"""Questions about strings and request headers, built once from matcher values: `config.matchers` -> functions.

Used by routes and by access-log filters. A built predicate looks at bytes as they came and allocates nothing.
Envoy: envoy.type.matcher.v3.StringMatcher, envoy.config.route.v3.HeaderMatcher.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from pyproxy.config.matchers import HeaderMatch, RangeMatch, StringKind, StringMatch
from pyproxy.config.regex import compile_regex
from pyproxy.http.message import Request

BytesPredicate = Callable[[bytes], bool]
RequestPredicate = Callable[[Request], bool]

PSEUDO: Final[dict[bytes, Callable[[Request], bytes]]] = {
    b":method": lambda request: request.method,
    b":path": lambda request: request.path,
    b":authority": lambda request: request.authority,
    b"host": lambda request: request.authority,
    b":scheme": lambda request: request.scheme,
}

_NUMBER = re.compile(rb"[ \t\n\v\f\r]*[+-]?[0-9]+[ \t\n\v\f\r]*")
_MOST_DIGITS: Final = 64
"""Longer numbers are not looked at: they are beyond 64 bits unless they are mostly zeros."""
_INT64: Final = 1 << 63


def build_string_predicate(match: StringMatch) -> BytesPredicate:
    """A function that tells whether a value fits."""
    value = match.value.encode()
    if match.kind is StringKind.REGEX:
        return compile_regex(match.value).matches
    if match.ignore_case:
        return _ignoring_case(match.kind, value.lower())
    match match.kind:
        case StringKind.EXACT:
            return lambda text: text == value
        case StringKind.PREFIX:
            return lambda text: text.startswith(value)
        case StringKind.SUFFIX:
            return lambda text: text.endswith(value)
        case StringKind.CONTAINS:
            return lambda text: value in text


def build_header_predicate(match: HeaderMatch) -> RequestPredicate:
    """A function that tells whether a request's header fits.

    Envoy looks at each value of a repeated header on its own, so that a value cannot hide behind another one.
    """
    if match.present is not None:
        return _presence(match, match.present)
    if match.range is not None:
        return _on_header(match, _in_range(match.range))
    assert match.string is not None
    return _on_header(match, build_string_predicate(match.string))


def all_of(predicates: Iterable[RequestPredicate]) -> RequestPredicate | None:
    """One predicate for several; None where there are none."""
    chosen = tuple(predicates)
    if len(chosen) < 2:
        return chosen[0] if chosen else None
    if len(chosen) == 2:
        first, second = chosen
        return lambda request: first(request) and second(request)

    def every(request: Request) -> bool:
        for predicate in chosen:  # noqa: SIM110 (a generator would cost an object per request)
            if not predicate(request):
                return False
        return True

    return every


def _ignoring_case(kind: StringKind, value: bytes) -> BytesPredicate:
    # ASCII letters only, as in Envoy: `bytes.lower` leaves the others alone.
    match kind:
        case StringKind.EXACT:
            return lambda text: text.lower() == value
        case StringKind.PREFIX:
            return lambda text: text.lower().startswith(value)
        case StringKind.SUFFIX:
            return lambda text: text.lower().endswith(value)
        case _:
            return lambda text: value in text.lower()


def _in_range(limits: RangeMatch) -> BytesPredicate:
    start, end = limits.start, limits.end

    def inside(text: bytes) -> bool:
        # int() alone would take underscores and non-ASCII digits.
        if len(text) > _MOST_DIGITS or _NUMBER.fullmatch(text) is None:
            return False
        number = int(text)
        return start <= number < end and -_INT64 <= number < _INT64

    return inside


def _presence(match: HeaderMatch, wanted: bool) -> RequestPredicate:
    name = match.name
    expected = wanted != match.invert
    if match.missing_as_empty or name in PSEUDO:
        return lambda _: expected
    if expected:
        return lambda request: name in request.headers.index
    return lambda request: name not in request.headers.index


def _on_header(match: HeaderMatch, fits: BytesPredicate) -> RequestPredicate:
    name, invert = match.name, match.invert
    pseudo = PSEUDO.get(name)
    if pseudo is not None:
        read = pseudo
        return lambda request: fits(read(request)) is not invert
    missing = match.missing_as_empty and fits(b"") is not invert

    def on_header(request: Request) -> bool:
        headers = request.headers
        value = headers.index.get(name)
        if value is None:
            return missing
        if len(headers.index) == len(headers.pairs):
            return fits(value) is not invert
        return any(fits(one) for one in headers.get_all(name)) is not invert

    return on_header
