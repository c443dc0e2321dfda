"""What routes ask besides the path. Measured with Envoy 1.40."""

from __future__ import annotations

import pytest

from pyproxy.config.matchers import Fraction, QueryMatch, StringKind, StringMatch
from pyproxy.config.route import (
    PathKind,
    RouteMatch,
)
from tests.http.requests import make_request
from tests.routes.live import P, name_of, one_host

FIVE = ["k=v", "k=v&k=w", "a=1&k=v", "&&k=v", "k=v&"]


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        (QueryMatch("k", StringMatch(StringKind.EXACT, "v")), FIVE),
        (QueryMatch("k", StringMatch(StringKind.EXACT, "a b")), []),
        (QueryMatch("k", StringMatch(StringKind.EXACT, "a%20b")), ["k=a%20b"]),
        (QueryMatch("k", StringMatch(StringKind.EXACT, "")), ["k", "k="]),
        (QueryMatch("k", StringMatch(StringKind.EXACT, "a=b")), ["k=a=b"]),
        (QueryMatch("k", StringMatch(StringKind.EXACT, "v?x")), ["k=v?x"]),
        (
            QueryMatch("k", StringMatch(StringKind.EXACT, "V", ignore_case=True)),
            ["k=v", "k=v&k=w", "a=1&k=v", "&&k=v", "k=v&"],
        ),
        (QueryMatch("k%20k"), ["k%20k=1"]),
        (QueryMatch("k", present=False), ["", "K=v", "k%20k=1", "%6B=v", "k;k=v", "a?k=v", "=v"]),
    ],
)
def test_query_parameters(match: QueryMatch, fits: list[str]) -> None:
    table = one_host(RouteMatch(P, "/", query=(match,)))
    queries = [
        *("", "k", "k=", "k=v", "k=w&k=v", "k=v&k=w", "a=1&k=v", "&&k=v", "k=a%20b", "k=a+b", "K=v", "k%20k=1"),
        *("%6B=v", "k=v?x", "k=a=b", "k=a%3Db", "k;k=v", "a?k=v", "=v", "k=v&"),
    ]
    assert [query for query in queries if table.match(make_request(f"/?{query}")) is not None] == fits


def test_fractions_are_kept_and_stay_the_same_for_a_request() -> None:
    table = one_host(RouteMatch(P, "/", fraction=Fraction(25, 100)), RouteMatch(P, "/"))
    requests = [make_request() for _ in range(4000)]
    names = [name_of(table, request) for request in requests]
    assert 0.2 < names.count("0") / len(names) < 0.3
    assert [name_of(table, request) for request in requests] == names
    assert name_of(one_host(RouteMatch(P, "/", fraction=Fraction(0, 100))), make_request()) is None
    assert name_of(one_host(RouteMatch(P, "/", fraction=Fraction(100, 100))), make_request()) == "0"


def test_grpc_only() -> None:
    table = one_host(RouteMatch(P, "/", grpc_only=True))
    for content_type, fits in [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc-web", False),
        (b"application/json", False),
    ]:
        assert (table.match(make_request("/", (b"content-type", content_type))) is not None) is fits


def test_connect_matches_connect_only() -> None:
    table = one_host(RouteMatch(PathKind.CONNECT, ""), RouteMatch(P, "/"))
    assert name_of(table, make_request("h:443", method=b"CONNECT")) == "0"
    assert name_of(table, make_request("/")) == "1"
