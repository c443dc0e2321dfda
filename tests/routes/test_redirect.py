"""Redirects and direct responses. Measured with Envoy 1.40."""

from __future__ import annotations

import pytest

from pyproxy.config.format import Format, Operator
from pyproxy.config.headers import NO_CHANGES, HeaderAdd, HeaderChanges
from pyproxy.config.route import (
    Action,
    DirectResponseAction,
    RedirectAction,
    RegexRewrite,
    RouteMatch,
)
from pyproxy.http.message import Pair
from tests.http.requests import make_request
from tests.routes.live import EVERYTHING, E, P, R, S, one_route


def location(
    action: RedirectAction, path: str, authority: str = "h", match: RouteMatch = EVERYTHING, scheme: bytes = b"http"
) -> str:
    route = one_route(action, match)
    assert route.answer is not None
    request = make_request(path, (b"x-forwarded-proto", scheme), authority=authority, scheme=scheme)
    response = route.answer(request)
    assert response.status == action.status
    assert [name for name, _ in response.headers.pairs] == [b"location"]
    assert response.body is None
    return response.headers.pairs[0][1].decode()


@pytest.mark.parametrize(
    ("action", "plain", "port_80", "port_8080"),
    [
        (RedirectAction(https=True), "https://h/p/abc?q=1", "https://h/p", "https://h:8080/pabb?b=b"),
        (RedirectAction(scheme="ftp"), "ftp://h/p/abc?q=1", "ftp://h/p", "ftp://h:8080/pabb?b=b"),
        (RedirectAction(scheme="http"), "http://h/p/abc?q=1", "http://h:80/p", "http://h:8080/pabb?b=b"),
        (RedirectAction(host="new.com"), "http://new.com/p/abc?q=1", "http://new.com/p", "http://new.com/pabb?b=b"),
        (RedirectAction(host="n:80", https=True), "https://n:80/p/abc?q=1", "https://n:80/p", "https://n:80/pabb?b=b"),
        (RedirectAction(port=443, https=True), "https://h:443/p/abc?q=1", "https://h:443/p", "https://h:443/pabb?b=b"),
        (RedirectAction(host="n", port=80), "http://n:80/p/abc?q=1", "http://n:80/p", "http://n:80/pabb?b=b"),
        (RedirectAction(path="/new"), "http://h/new?q=1", "http://h:80/new", "http://h:8080/new?b=b"),
        (RedirectAction(path="/new?a=b"), "http://h/new?a=b", "http://h:80/new?a=b", "http://h:8080/new?a=b"),
        (RedirectAction(path="/new?"), "http://h/new?", "http://h:80/new?", "http://h:8080/new?"),
        (RedirectAction(path="/new", strip_query=True), "http://h/new", "http://h:80/new", "http://h:8080/new"),
        (RedirectAction(path="/new#a"), "http://h/new#a?q=1", "http://h:80/new#a", "http://h:8080/new#a?b=b"),
        (RedirectAction(path="new"), "http://h/new?q=1", "http://h:80/new", "http://h:8080/new?b=b"),
        (RedirectAction(path="?a"), "http://h/?a", "http://h:80/?a", "http://h:8080/?a"),
        (RedirectAction(prefix_rewrite="n"), "http://h/n/abc?q=1", "http://h:80/n", "http://h:8080/nabb?b=b"),
        (
            RedirectAction(prefix_rewrite="/n?x", strip_query=True),
            "http://h/n",
            "http://h:80/n",
            "http://h:8080/n",
        ),
        (
            RedirectAction(regex_rewrite=RegexRewrite(".*", "")),
            "http://h/p/abc?q=1",
            "http://h:80/p",
            "http://h:8080/pabb?b=b",
        ),
        (RedirectAction(prefix_rewrite="/n"), "http://h/n/abc?q=1", "http://h:80/n", "http://h:8080/nabb?b=b"),
        (
            RedirectAction(prefix_rewrite="/n", strip_query=True),
            "http://h/n/abc",
            "http://h:80/n",
            "http://h:8080/nabb",
        ),
        (
            RedirectAction(regex_rewrite=RegexRewrite("/p/([a-z]+)", r"/\1/q/\0")),
            "http://h/abc/q//p/abc?q=1",
            "http://h:80/p",
            "http://h:8080/pabb?b=b",
        ),
        (
            RedirectAction(regex_rewrite=RegexRewrite("b", "X"), strip_query=True),
            "http://h/p/aXc",
            "http://h:80/p",
            "http://h:8080/paXX",
        ),
        (RedirectAction(strip_query=True), "http://h/p/abc", "http://h:80/p", "http://h:8080/pabb"),
        (RedirectAction(status=308), "http://h/p/abc?q=1", "http://h:80/p", "http://h:8080/pabb?b=b"),
    ],
)
def test_redirects(action: RedirectAction, plain: str, port_80: str, port_8080: str) -> None:
    match = RouteMatch(P, "/p")
    assert location(action, "/p/abc?q=1", match=match) == plain
    assert location(action, "/p", "h:80", match=match) == port_80
    assert location(action, "/pabb?b=b", "h:8080", match=match) == port_8080


@pytest.mark.parametrize(
    ("action", "path"),
    [
        (RedirectAction(prefix_rewrite="/n"), "/n/a?q"),
        (RedirectAction(prefix_rewrite="/n", strip_query=True), "/n/a?q"),
        (RedirectAction(prefix_rewrite="/p"), "/p/a?q"),
        (RedirectAction(regex_rewrite=RegexRewrite("p", "q")), "/q/a?q"),
        (RedirectAction(regex_rewrite=RegexRewrite(".*", "")), None),
        (RedirectAction(path="/new"), None),
        (RedirectAction(https=True), None),
    ],
)
def test_a_rewritten_path_is_told_of_the_request(action: RedirectAction, path: str | None) -> None:
    seen = Format((Operator("REQ", ":path"),))
    route = one_route(
        action, RouteMatch(P, "/p"), route={"headers": HeaderChanges(response_add=(HeaderAdd(b"y", seen),))}
    )
    assert route.answer is not None
    request = make_request("/p/a?q")
    response = route.answer(request)
    assert request.path == (path or "/p/a?q").encode()
    assert response.headers.get(b"y") == request.path
    assert request.headers.get(b"x-envoy-original-path") == (None if path is None else b"/p/a?q")


def test_redirects_of_other_matches() -> None:
    action = RedirectAction(prefix_rewrite="/n")
    assert location(action, "/s/x?y", match=RouteMatch(S, "/s")) == "http://h/n/x?y"
    assert location(action, "/e?y", match=RouteMatch(E, "/e")) == "http://h/n?y"
    assert location(action, "/xyz?y=/x", match=RouteMatch(R, "/x.*")) == "http://h/n?y=/x"
    assert location(action, "/CaB?x", match=RouteMatch(P, "/C", case_sensitive=False)) == "http://h/naB?x"


def test_redirects_with_odd_authorities() -> None:
    https = RedirectAction(https=True)
    assert location(https, "/", "[::1]:80") == "https://[::1]/"
    assert location(https, "/", "[::1]") == "https://[::1]/"
    assert location(https, "/", "h:443") == "https://h:443/"
    assert location(RedirectAction(scheme="http"), "/", "h:443", scheme=b"https") == "http://h/"
    assert location(RedirectAction(port=1), "/?", "[::1]:80") == "http://[::1]:1/?"


def answered(action: Action, changes: HeaderChanges = NO_CHANGES) -> tuple[int, list[Pair]]:
    route = one_route(action, route={"headers": changes})
    assert route.answer is not None
    assert route.mutate_response is None  # the answer has been changed already
    response = route.answer(make_request("/d?x"))
    return response.status, response.headers.pairs


LENGTH, TEXT = (b"content-length", b"2"), (b"content-type", b"text/plain")


def test_direct_responses() -> None:
    hi = b"hi"
    order = HeaderChanges(response_add=(HeaderAdd(b"y", Format(("1",))),))
    own_type = HeaderChanges(response_add=(HeaderAdd(b"content-type", Format(("a/b",))),))
    here = (b"location", b"http://h/d?x")
    assert answered(DirectResponseAction(200, hi)) == (200, [LENGTH, TEXT])
    assert answered(DirectResponseAction(200)) == (200, [])
    assert answered(DirectResponseAction(200, hi), order) == (200, [(b"y", b"1"), LENGTH, TEXT])
    assert answered(DirectResponseAction(201, hi), order) == (201, [here, (b"y", b"1"), LENGTH, TEXT])
    assert answered(DirectResponseAction(302), order) == (302, [here, (b"y", b"1")])
    assert answered(DirectResponseAction(200, hi), own_type) == (200, [(b"content-type", b"a/b"), LENGTH])
    assert answered(RedirectAction(), order) == (301, [here, (b"y", b"1")])
