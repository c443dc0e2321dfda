"""From requests to routes. What the single verdicts should be was measured with Envoy 1.40."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyproxy.config.matchers import HeaderMatch, QueryMatch, StringKind, StringMatch
from pyproxy.config.route import (
    RouteConfig,
    RouteMatch,
    RouteTableConfig,
    VirtualHostConfig,
)
from tests.http.requests import make_request
from tests.routes import naive
from tests.routes.live import OK, E, P, R, S, T, hosts, make_table, name_of, one_host


@pytest.mark.parametrize(
    ("match", "fits", "fails"),
    [
        (RouteMatch(P, "/foo"), ["/foo", "/foo?x", "/foobar"], ["/Foo", "/fo", "/%66oo", "/x/foo"]),
        (RouteMatch(P, "/foo?x"), [], ["/foo?x", "/foo?xy"]),
        (RouteMatch(P, "/Foo", case_sensitive=False), ["/foo", "/fOOx"], ["/fo"]),
        (RouteMatch(P, ""), ["/foo", "/"], []),
        (RouteMatch(E, "/foo"), ["/foo", "/foo?x", "/foo?"], ["/foo/", "/Foo", "/fo"]),
        (RouteMatch(E, "/foo?x"), [], ["/foo?x"]),
        (RouteMatch(E, "/Foo", case_sensitive=False), ["/foo", "/fOo?x"], ["/fO/"]),
        (
            RouteMatch(S, "/api/v1"),
            ["/api/v1", "/api/v1/", "/api/v1?x", "/api/v1/z?y", "/api/v1?/"],
            ["/api/v12", "/API/v1", "/api/v"],
        ),
        (RouteMatch(S, "/api/V1", case_sensitive=False), ["/API/v1", "/api/v1/x"], ["/api/v12"]),
        (RouteMatch(R, "/a(b|c)"), ["/ab", "/ac?x"], ["/abx", "/AB"]),
        (RouteMatch(R, "a"), [], ["/a"]),
        (RouteMatch(R, "/a", case_sensitive=False), ["/a"], ["/A"]),
        (RouteMatch(R, r"/a\?x"), [], ["/a?x", "/a"]),
        (RouteMatch(R, "/a|/b"), ["/a", "/b"], ["/bc"]),
        (RouteMatch(R, "^/a$"), ["/a"], ["/ab"]),
        (RouteMatch(R, "/ab?c*"), ["/a", "/ab", "/abcc", "/ac"], ["/abb"]),
        (RouteMatch(T, "/foo/{x}/*/end"), ["/foo/1/2/end?q", "/foo/a%20b/2/end"], ["/foo/1/end", "/foo//2/end"]),
        (RouteMatch(T, "/foo/**"), ["/foo/", "/foo/a/b", "/foo/a//b", "/foo/a=b"], ["/foo"]),
        (RouteMatch(T, "/foo/{a=x/*}/{b=**}.m3u8"), ["/foo/x/y/z/w.m3u8", "/foo/x/y/.m3u8"], ["/foo/x/y/z/w.mp4"]),
        (RouteMatch(T, "/a/*"), ["/a/b!", "/a/b$&'()+,;:@~._%-", "/a/b=c", "/a/b*"], ['/a/b"', "/a/b/", "/a/", "/a/^"]),
        (RouteMatch(T, "/a/**/b"), ["/a//b", "/a/x/b", "/a/x/y/b"], ["/a/b"]),
        (RouteMatch(T, "/a/b", case_sensitive=False), ["/a/b"], ["/A/B"]),
    ],
)
def test_paths(match: RouteMatch, fits: list[str], fails: list[str]) -> None:
    table = one_host(match)
    assert [path for path in fits if table.match(make_request(path)) is None] == []
    assert [path for path in fails if table.match(make_request(path)) is not None] == []


def test_the_first_match_wins() -> None:
    table = one_host(
        RouteMatch(P, "/a/b/c"),
        RouteMatch(P, "/a"),
        RouteMatch(E, "/a/b"),
        RouteMatch(R, "/b.*"),
        RouteMatch(P, "/b/c"),
    )
    for path, name in [("/a/b/c/d", "0"), ("/a/b", "1"), ("/a", "1"), ("/b/c", "3"), ("/bb", "3"), ("/c", None)]:
        assert name_of(table, make_request(path)) == name, path


def test_a_condition_that_fails_leaves_the_request_to_the_next_route() -> None:
    is_v = HeaderMatch(b"x", string=StringMatch(StringKind.EXACT, "v"))
    table = one_host(
        RouteMatch(P, "/a", headers=(is_v,)),
        RouteMatch(E, "/a", query=(QueryMatch("k"),)),
        RouteMatch(R, "/.*"),
        RouteMatch(P, "/a"),
    )
    for request, name in [
        (make_request("/a?k", (b"x", b"v")), "0"),
        (make_request("/a?k", (b"x", b"w")), "1"),
        (make_request("/a", (b"x", b"w")), "2"),
        (make_request("/ab?k"), "2"),
    ]:
        assert name_of(table, request) == name


def test_ports_are_ignored_when_told_to() -> None:
    table = hosts(
        ("exact", ["foo.com"]), ("suffix", ["*.foo.com"]), ("ip6", ["[::1]"]), ("any", ["*"]), ignore_port=True
    )
    expected = {
        "exact": "foo.com foo.com:80 foo.com:x foo.com: foo.com:99999999999",
        "suffix": "a.foo.com:9",
        "ip6": "[::1] [::1]:80",
        "any": "foo.com:1:2",
    }
    for name, authorities in expected.items():
        for authority in authorities.split():
            assert name_of(table, make_request(authority=authority)) == name, authority


def test_an_unknown_host_and_an_unknown_path_have_no_route() -> None:
    table = hosts(("one", ["one"]), ("all", ["*.all"]))
    assert table.match(make_request(authority="two")) is None
    assert one_host(RouteMatch(P, "/a")).match(make_request("/b")) is None


def test_a_header_in_place_of_the_host() -> None:
    table = hosts(("one", ["one"]), ("any", ["*"]), vhost_header=b"x-host")
    assert name_of(table, make_request("/", (b"x-host", b"ONE"), authority="two")) == "one"
    assert name_of(table, make_request("/", (b"x-host", b"three"), authority="one")) == "any"
    assert table.match(make_request(authority="one")) is None


# The compiled table against the naive one

SEGMENTS = st.sampled_from(["a", "b", "A", "ab", "", "a.b"])
PATHS = st.lists(SEGMENTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
REGEXES = st.sampled_from(
    [
        "/a.*",
        "/.*b",
        "/(a|b)/.*",
        "/a|/b",
        "/ab?",
        "/a+",
        "/[ab]/a",
        ".*",
        r"/a\.b",
        "/a/b{0,1}",
        "/(a|/b)?",
        "/a(/.*|)",
    ]
)
HEADERS = st.lists(
    st.sampled_from(["1", "2"]).map(lambda v: HeaderMatch(b"x", string=StringMatch(StringKind.EXACT, v))), max_size=1
).map(tuple)


@st.composite
def matches(draw: st.DrawFn) -> RouteMatch:
    kind = draw(st.sampled_from([P, E, S, R]))
    path = draw(REGEXES if kind is R else PATHS)
    if kind is S:
        path = path.rstrip("/") or "/a"
    return RouteMatch(kind, path, case_sensitive=draw(st.booleans()), headers=draw(HEADERS))


DOMAINS = ["*", "a.com", "*.com", "*a.com", "*.a.com", "a.*", "a.c*", "b.com", "A.b", "a.com:80", "*:80", "a*"]


@st.composite
def tables(draw: st.DrawFn) -> RouteTableConfig:
    domains = draw(st.lists(st.sampled_from(DOMAINS), unique_by=str.lower, min_size=1, max_size=6))
    cut = draw(st.integers(1, len(domains)))
    named = [("first", tuple(domains[:cut])), ("second", tuple(domains[cut:]))]
    return RouteTableConfig(
        virtual_hosts=tuple(
            VirtualHostConfig(
                name,
                own,
                tuple(
                    RouteConfig(match, OK, f"{name} {place}")
                    for place, match in enumerate(draw(st.lists(matches(), max_size=8)))
                ),
            )
            for name, own in named
        ),
        ignore_port=draw(st.booleans()),
    )


REQUESTS = st.tuples(
    PATHS,
    st.sampled_from(["", "?", "?a", "?/a"]),
    st.sampled_from(["a.com", "A.com", "b.a.com", "a.com:80", "ba.com", "a.co", "a.b", "z", ".com", "a.", "a"]),
    st.lists(st.sampled_from([b"1", b"2", b"3"]), max_size=2),
)


@settings(max_examples=400, deadline=None)
@given(tables(), st.lists(REQUESTS, min_size=1, max_size=10))
def test_it_finds_what_a_scan_of_all_routes_finds(
    config: RouteTableConfig, asked: list[tuple[str, str, str, list[bytes]]]
) -> None:
    table = make_table(config)
    for path, query, authority, values in asked:
        request = make_request(path + query, *((b"x", value) for value in values), authority=authority)
        expected = naive.find(config, request)
        for _ in range(2):  # also from memory
            assert name_of(table, request) == (None if expected is None else f"{expected[0]} {expected[1]}")
