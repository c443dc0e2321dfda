"""Matchers on strings and headers. The verdicts in the tables are those that Envoy 1.40 gave."""

from __future__ import annotations

import pytest

from pyproxy.config.matchers import HeaderMatch, RangeMatch, StringKind, StringMatch
from pyproxy.http.message import Request
from pyproxy.http.predicates import all_of, build_header_predicate, build_string_predicate
from tests.http.requests import make_request


def request(*values: bytes) -> Request:
    return make_request("/p?q", (b"other", b"1"), *((b"x", value) for value in values))


@pytest.mark.parametrize(
    ("kind", "value", "ignore_case", "fits", "fails"),
    [
        (StringKind.EXACT, "aBc", False, [b"aBc"], [b"abc", b"aBcd", b""]),
        (StringKind.EXACT, "aBc", True, [b"abC"], [b"abcd", b""]),
        (StringKind.EXACT, "É", True, ["É".encode()], ["é".encode()]),
        (StringKind.PREFIX, "ab", False, [b"ab", b"abc"], [b"a", b"ABc", b"xab"]),
        (StringKind.PREFIX, "aB", True, [b"AbC"], [b"xab"]),
        (StringKind.SUFFIX, "bc", False, [b"bc", b"abc"], [b"bcd", b"aBC"]),
        (StringKind.SUFFIX, "BC", True, [b"aBc"], [b"bcd"]),
        (StringKind.CONTAINS, "b", False, [b"abc", b"b"], [b"aBc", b""]),
        (StringKind.CONTAINS, "B", True, [b"abc", b"ABC"], [b"ac"]),
        (StringKind.REGEX, "a+", False, [b"a", b"aa"], [b"ab", b"ba", b"", b"a\n"]),
    ],
)
def test_string(kind: StringKind, value: str, ignore_case: bool, fits: list[bytes], fails: list[bytes]) -> None:
    predicate = build_string_predicate(StringMatch(kind, value, ignore_case))
    assert [predicate(text) for text in fits] == [True] * len(fits)
    assert [predicate(text) for text in fails] == [False] * len(fails)


V = StringMatch(StringKind.EXACT, "v")
VALUES = [(), (b"v",), (b"w",), (b"",), (b"v", b"w"), (b"w", b"v"), (b"v,w",), (b"w", b"w")]


@pytest.mark.parametrize(
    ("match", "verdicts"),
    [
        (HeaderMatch(b"x", string=V), "nYnnYYnn"),
        (HeaderMatch(b"x", string=V, invert=True), "nnYYnnYY"),
        (HeaderMatch(b"x", string=V, missing_as_empty=True), "nYnnYYnn"),
        (HeaderMatch(b"x", string=V, missing_as_empty=True, invert=True), "YnYYnnYY"),
        (HeaderMatch(b"x", string=StringMatch(StringKind.EXACT, "")), "nnnYnnnn"),
        (HeaderMatch(b"x", string=StringMatch(StringKind.EXACT, ""), missing_as_empty=True), "YnnYnnnn"),
        (HeaderMatch(b"x", string=StringMatch(StringKind.CONTAINS, "v,w")), "nnnnnnYn"),
        (HeaderMatch(b"x", present=True), "nYYYYYYY"),
        (HeaderMatch(b"x", present=False), "Ynnnnnnn"),
        (HeaderMatch(b"x", present=True, invert=True), "Ynnnnnnn"),
        (HeaderMatch(b"x", present=False, invert=True), "nYYYYYYY"),
        (HeaderMatch(b"x", present=True, missing_as_empty=True), "YYYYYYYY"),
        (HeaderMatch(b"x", present=False, missing_as_empty=True), "nnnnnnnn"),
        (HeaderMatch(b"x", present=True, missing_as_empty=True, invert=True), "nnnnnnnn"),
    ],
)
def test_header(match: HeaderMatch, verdicts: str) -> None:
    predicate = build_header_predicate(match)
    assert "".join("Y" if predicate(request(*values)) else "n" for values in VALUES) == verdicts


@pytest.mark.parametrize(
    ("value", "inside"),
    [
        (b"5", True),
        (b"-5", True),
        (b"+5", True),
        (b"05", True),
        (b" 5 ", True),
        (b"10", False),
        (b"-6", False),
        (b"5a", False),
        (b"0x5", False),
        (b"1_0", False),
        (b"- 5", False),
        (b"5, 6", False),
        (b"", False),
        (b"\xd9\xa5", False),
        (b"9" * 30, False),
        (b"9" * 5000, False),
    ],
)
def test_range(value: bytes, inside: bool) -> None:
    match = HeaderMatch(b"x", range=RangeMatch(-5, 10))
    assert build_header_predicate(match)(request(value)) is inside
    inverted = HeaderMatch(b"x", range=RangeMatch(-5, 10), invert=True)
    assert build_header_predicate(inverted)(request(value)) is not inside


def test_a_number_beyond_64_bits_is_in_no_range() -> None:
    widest = HeaderMatch(b"x", range=RangeMatch(-(2**63), 2**63 - 1))
    assert build_header_predicate(widest)(request(b"9223372036854775806"))
    assert not build_header_predicate(widest)(request(b"9223372036854775808"))


def test_any_value_of_a_repeated_header_may_be_in_the_range() -> None:
    predicate = build_header_predicate(HeaderMatch(b"x", range=RangeMatch(0, 10)))
    assert predicate(request(b"100", b"5"))
    assert not predicate(request(b"100", b"50"))


@pytest.mark.parametrize(
    ("name", "value"),
    [(b":method", "GET"), (b":path", "/p?q"), (b":authority", "h"), (b"host", "h"), (b":scheme", "http")],
)
def test_pseudo_headers(name: bytes, value: str) -> None:
    match = StringMatch(StringKind.EXACT, value)
    assert build_header_predicate(HeaderMatch(name, string=match))(request())
    assert not build_header_predicate(HeaderMatch(name, string=match, invert=True))(request())
    assert build_header_predicate(HeaderMatch(name, present=True))(request())
    assert not build_header_predicate(HeaderMatch(name, present=False))(request())


def test_all_of() -> None:
    is_v = build_header_predicate(HeaderMatch(b"x", string=V))
    has_other = build_header_predicate(HeaderMatch(b"other", present=True))
    has_none = build_header_predicate(HeaderMatch(b"none", present=True))
    assert all_of([]) is None
    assert all_of([is_v]) is is_v
    for chosen, verdict in [
        ([is_v, has_other], True),
        ([is_v, has_none], False),
        ([is_v, has_other, is_v], True),
        ([is_v, has_other, has_none], False),
    ]:
        combined = all_of(chosen)
        assert combined is not None
        assert combined(request(b"v")) is verdict
