from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.internal_redirect import InternalRedirectConfig, RedirectPredicate
from pyproxy.http.body import Body
from pyproxy.http.message import Headers, Request, Response
from pyproxy.routes.internal_redirect import InternalRedirects, NotFollowed
from tests.http.requests import make_request


class Named:
    def __init__(self, name: str) -> None:
        self.name = name


def to(location: bytes, status: int = 302, *headers: tuple[bytes, bytes]) -> Response:
    return Response(status, Headers([(b"location", location), *headers]))


def request() -> Request:
    made = make_request("/a?b", (b"x-a", b"1"), authority="before")
    made.info.route_name = "first"
    return made


def follow(request: Request, response: Response, route: str | None = "next", **fields: Any) -> NotFollowed | None:
    config = InternalRedirectConfig(**fields)
    return InternalRedirects(config).follow(
        request, response, lambda _: None if route is None else Named(route), Body.complete(b"body")
    )


def test_the_request_goes_where_the_redirect_leads() -> None:
    asked = request()
    assert follow(asked, to(b"http://after:81/x?y#z")) is None
    assert (asked.scheme, asked.authority, asked.path) == (b"http", b"after:81", b"/x?y")
    assert asked.headers.get(b"x-envoy-original-url") == b"http://before/a?b"
    assert asked.headers.get(b"x-a") == b"1"
    assert asked.body is not None


@pytest.mark.parametrize(
    ("location", "route", "fields", "why"),
    [
        (b"/x", "next", {}, NotFollowed.BAD_LOCATION),
        (b"https://a/", "next", {}, NotFollowed.UNSAFE_SCHEME),
        (b"http://a/", "next", {"most": 0}, NotFollowed.TOO_MANY),
        (b"http://a/", None, {}, NotFollowed.NO_ROUTE),
        (
            b"https://a/",
            "next",
            {"cross_scheme": True, "predicates": (RedirectPredicate.SAFE_CROSS_SCHEME,)},
            NotFollowed.PREDICATE,
        ),
        (
            b"http://a/",
            "next",
            {"predicates": (RedirectPredicate.ALLOW_LISTED_ROUTES,), "allowed_routes": frozenset({"other"})},
            NotFollowed.PREDICATE,
        ),
    ],
)
def test_nothing_has_changed_where_it_is_passed_on(
    location: bytes, route: str | None, fields: dict[str, Any], why: NotFollowed
) -> None:
    asked = request()
    body = asked.body
    assert follow(asked, to(location, 302, (b"x-a", b"2")), route, copied=(b"x-a",), **fields) is why
    assert (asked.scheme, asked.authority, asked.path, asked.body) == (b"http", b"before", b"/a?b", body)
    assert asked.headers.pairs == request().headers.pairs
    assert asked.info.followed is None


def test_a_request_is_led_so_often_and_to_no_route_twice() -> None:
    asked = request()
    fields: dict[str, Any] = {"most": 2, "predicates": (RedirectPredicate.PREVIOUS_ROUTES,)}
    assert follow(asked, to(b"http://a/"), "one", **fields) is None
    assert follow(asked, to(b"http://a/"), "one", **fields) is NotFollowed.PREDICATE
    assert follow(asked, to(b"http://a/"), "two", **fields) is None
    assert follow(asked, to(b"http://a/"), "three", **fields) is NotFollowed.TOO_MANY


@pytest.mark.parametrize(
    ("method", "status", "becomes", "keeps"),
    [
        (b"POST", 303, b"GET", False),
        (b"POST", 302, b"POST", True),
        (b"HEAD", 303, b"HEAD", True),
        (b"GET", 303, b"GET", True),
    ],
)
def test_see_other_makes_it_a_get(method: bytes, status: int, becomes: bytes, keeps: bool) -> None:
    asked = request()
    asked.method = method
    asked.headers.add(b"content-length", b"4")
    assert follow(asked, to(b"http://a/", status), statuses=frozenset({302, 303})) is None
    assert (asked.method, asked.body is not None, b"content-length" in asked.headers) == (becomes, keeps, keeps)


def test_headers_of_the_answer_take_the_place_of_those_of_the_request() -> None:
    asked = request()
    answer = to(b"http://a/", 302, (b"x-b", b"2"), (b"x-b", b"3"))
    assert follow(asked, answer, copied=(b"x-a", b"x-b")) is None
    assert asked.headers.get_all(b"x-b") == [b"2", b"3"]
    assert b"x-a" not in asked.headers
