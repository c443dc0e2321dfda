"""New paths and authorities. Measured with Envoy 1.40."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.route import (
    ForwardAction,
    HostRewrite,
    PathRewrite,
    RegexRewrite,
    RouteMatch,
)
from pyproxy.http.message import Pair, Request
from tests.http.requests import make_request
from tests.routes.live import EVERYTHING, E, P, R, S, T, one_route


def forwarded(
    action: ForwardAction, path: str, *headers: Pair, match: RouteMatch = EVERYTHING, **fields: Any
) -> Request:
    request = make_request(path, *headers, authority="old.com")
    change = one_route(action, match, **fields).resolve(request).mutate_request
    if change is not None:
        change(request)
    return request


PREFIX = PathRewrite(prefix="/n")


def regex(pattern: str, substitution: str) -> PathRewrite:
    return PathRewrite(regex=RegexRewrite(pattern, substitution))


@pytest.mark.parametrize(
    ("match", "rewrite", "path", "new"),
    [
        (RouteMatch(P, "/p"), PREFIX, "/p/abc?q=1", "/n/abc?q=1"),
        (RouteMatch(P, "/p"), PREFIX, "/pbb", "/nbb"),
        (RouteMatch(P, "/p"), PathRewrite(prefix="/"), "/p/abc", "//abc"),
        (RouteMatch(P, "/p"), PathRewrite(prefix="/p"), "/p/abc", "/p/abc"),
        (RouteMatch(P, "/p"), PathRewrite(prefix="/n?z=1"), "/p/abc?q=1", "/n?z=1/abc?q=1"),
        (RouteMatch(P, "/C", case_sensitive=False), PREFIX, "/cAb", "/nAb"),
        (RouteMatch(S, "/s"), PREFIX, "/s/q?q", "/n/q?q"),
        (RouteMatch(S, "/s"), PREFIX, "/s", "/n"),
        (RouteMatch(E, "/e"), PREFIX, "/e?q", "/n?q"),
        (RouteMatch(R, "/x.*"), PREFIX, "/xaq?q=/x/y", "/n?q=/x/y"),
        (
            RouteMatch(P, "/p"),
            PathRewrite(regex=RegexRewrite("/p/([a-z]+)", r"/\1/q\\/\0")),
            "/p/abc?q=1",
            "/abc/q\\//p/abc?q=1",
        ),
        (RouteMatch(P, "/p"), regex("b*", "X"), "/pbb", "X/XpX"),
        (RouteMatch(P, "/p"), regex("q", "X"), "/p/abc?q=1", "/p/abc?q=1"),
        (RouteMatch(T, "/a/{x}/{y=**}"), PathRewrite(template="/n/{y}/{x}!"), "/a/1/2/3?q", "/n/2/3/1!?q"),
        (RouteMatch(T, "/a/{x}/{y=**}"), PathRewrite(template="/lit"), "/a/1/2?q=1", "/lit?q=1"),
        (RouteMatch(T, "/a/{x}/{y=**}"), PathRewrite(template="/{y}"), "/a/1/", "/"),
        (RouteMatch(T, "/a/{x}/*"), regex("a", "A"), "/a/1/z?a", "/A/1/z?a"),
    ],
)
def test_path_rewrites(match: RouteMatch, rewrite: PathRewrite, path: str, new: str) -> None:
    request = forwarded(ForwardAction("up", path_rewrite=rewrite), path, match=match)
    assert request.path == new.encode()
    assert request.info.original_path == path.encode()
    assert request.headers.pairs == [(b"x-envoy-original-path", path.encode())]


def test_a_rewrite_to_nothing_leaves_the_path_alone() -> None:
    request = forwarded(ForwardAction("up", path_rewrite=PathRewrite(regex=RegexRewrite(".*", ""))), "/p?q")
    assert (request.path, request.headers.pairs, request.info.original_path) == (b"/p?q", [], b"")


def test_what_the_request_says_of_its_original_path_is_overwritten_in_place() -> None:
    request = forwarded(
        ForwardAction("up", path_rewrite=PREFIX), "/", (b"x-envoy-original-path", b"/evil"), (b"a", b"b")
    )
    assert request.headers.pairs == [(b"x-envoy-original-path", b"/"), (b"a", b"b")]


@pytest.mark.parametrize(
    ("rewrite", "authority"),
    [
        (HostRewrite(literal="lit.com"), b"lit.com"),
        (HostRewrite(header=b"x-h"), b"hdr.com"),
        (HostRewrite(path_regex=RegexRewrite("^/(.+?)/.*", r"\1")), b"p"),
        (HostRewrite(path_regex=RegexRewrite("b", "Z")), b"/p/aZc"),
    ],
)
def test_host_rewrites(rewrite: HostRewrite, authority: bytes) -> None:
    request = forwarded(ForwardAction("up", host_rewrite=rewrite), "/p/abc?b", (b"x-h", b"hdr.com"), (b"x-h", b"2"))
    assert request.authority == authority
    assert request.headers.pairs[2:] == [(b"x-envoy-original-host", b"old.com")]


@pytest.mark.parametrize("headers", [(), ((b"x-h", b""),)])
def test_no_header_no_host_rewrite(headers: tuple[Pair, ...]) -> None:
    request = forwarded(ForwardAction("up", host_rewrite=HostRewrite(header=b"x-h")), "/", *headers)
    assert (request.authority, tuple(request.headers.pairs)) == (b"old.com", headers)


def test_x_forwarded_host() -> None:
    action = ForwardAction("up", host_rewrite=HostRewrite(literal="lit.com", append_x_forwarded_host=True))
    told = (b"x-envoy-original-host", b"old.com")
    assert forwarded(action, "/").headers.pairs == [told, (b"x-forwarded-host", b"old.com")]
    for before, after in [
        (b"first", b"first,old.com"),
        (b"old.com", b"old.com"),
        (b"a,old.com", b"a,old.com"),
        (b"a, old.com", b"a, old.com,old.com"),
        (b"old.com,a", b"old.com,a,old.com"),
        (b"OLD.COM", b"OLD.COM,old.com"),
    ]:
        pairs = forwarded(action, "/", (b"x-forwarded-host", before)).headers.pairs
        assert pairs == [(b"x-forwarded-host", after), told]


def test_the_upstream_host_gives_its_name() -> None:
    class Host:
        def __init__(self, hostname: str) -> None:
            self.hostname = hostname

    route = one_route(ForwardAction("up", host_rewrite=HostRewrite(auto=True, append_x_forwarded_host=True)))
    assert route.rewrite_host is not None
    request = make_request(authority="old.com")
    assert route.resolve(request).mutate_request is None
    route.rewrite_host(request, Host(""))
    assert (request.authority, request.headers.pairs) == (b"old.com", [])
    route.rewrite_host(request, Host("localhost"))
    assert request.authority == b"localhost"
    assert request.headers.pairs == [(b"x-envoy-original-host", b"old.com"), (b"x-forwarded-host", b"old.com")]


def test_envoy_headers_are_left_out_when_told_to() -> None:
    action = ForwardAction("up", host_rewrite=HostRewrite(literal="lit.com"), path_rewrite=PREFIX)
    request = forwarded(action, "/a", suppress=True)
    assert (request.authority, request.path, request.headers.pairs) == (b"lit.com", b"/na", [])
