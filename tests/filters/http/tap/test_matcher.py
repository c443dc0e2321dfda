"""Whether an exchange is wanted, as its parts come."""

from __future__ import annotations

import pytest

from pyproxy.config.matchers import HeaderMatch, StringKind, StringMatch
from pyproxy.config.tap import AndRule, AnyRule, BodyRule, HeadersRule, NotRule, OrRule, TapPart, TapRule
from pyproxy.filters.http.tap.matcher import PatternSearch, TapMatcher
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo

A = HeadersRule(TapPart.REQUEST_HEADERS, (HeaderMatch(b"a", string=StringMatch(StringKind.EXACT, "1")),))
OK = HeadersRule(TapPart.RESPONSE_HEADERS, (HeaderMatch(b":status", string=StringMatch(StringKind.EXACT, "200")),))


def request(*pairs: tuple[bytes, bytes]) -> Request:
    return Request(b"GET", b"/", b"h", Headers(list(pairs)), StreamInfo(0.0, 0.0, ConnectionInfo()))


@pytest.mark.parametrize(
    ("rule", "after_request", "after_response"),
    [
        (AnyRule(), True, True),
        (NotRule(AnyRule()), False, False),
        (A, True, True),
        (NotRule(A), False, False),
        (OK, None, True),
        (NotRule(OK), None, False),
        (AndRule((A, OK)), None, True),
        (AndRule((NotRule(A), OK)), False, False),
        (OrRule((A, OK)), True, True),
        (OrRule((NotRule(A), OK)), None, True),
        (HeadersRule(TapPart.REQUEST_HEADERS, ()), True, True),
    ],
)
def test_known_as_soon_as_it_can_be(rule: TapRule, after_request: bool | None, after_response: bool | None) -> None:
    matcher = TapMatcher(rule)
    known = matcher.begin()
    matcher.look(TapPart.REQUEST_HEADERS, request((b"a", b"1")), known)
    assert matcher.evaluate(known) is after_request
    matcher.look(TapPart.RESPONSE_HEADERS, request((b":status", b"200")), known)
    assert matcher.evaluate(known) is after_response


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("patterns", "limit", "found"),
    [
        ((b"needle",), 0, True),
        ((b"hay", b"needle"), 0, True),
        ((b"needle", b"fork"), 0, False),
        ((b"needle",), 12, True),
        ((b"needle",), 11, False),
        ((), 0, True),
    ],
)
def test_patterns_are_found_across_pieces(size: int, patterns: tuple[bytes, ...], limit: int, found: bool) -> None:
    text = b"in hayneedlehay"
    search = PatternSearch(BodyRule(TapPart.REQUEST_BODY, patterns, limit))
    for at in range(0, len(text), size):
        search.feed(text[at : at + size])
    assert search.found is found
