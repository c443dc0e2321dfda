"""The choice among weighted clusters. Measured with Envoy 1.40."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.route import (
    ForwardAction,
    WeightedCluster,
)
from pyproxy.config.runtime_values import RuntimeValues
from tests.http.requests import make_request
from tests.routes.live import one_route


def split(**fields: Any) -> ForwardAction:
    return ForwardAction(
        weighted=(WeightedCluster("up", 75), WeightedCluster("no", 0), WeightedCluster("other", 25)), **fields
    )


def test_weights_are_kept_and_a_request_stays_with_its_choice() -> None:
    route = one_route(split())
    requests = [make_request() for _ in range(4000)]
    names = [route.resolve(request).cluster for request in requests]
    assert set(names) == {"up", "other"}
    assert 0.22 < names.count("other") / len(names) < 0.28
    assert [route.resolve(request).cluster for request in requests] == names


@pytest.mark.parametrize(
    ("value", "cluster"),
    [
        ("0", "up"),
        ("74", "up"),
        ("75", "other"),
        ("99", "other"),
        ("100", "up"),
        ("+5", "up"),
        ("18446744073709551615", "up"),
    ],
)
def test_a_header_replaces_chance(value: str, cluster: str) -> None:
    route = one_route(split(weighted_random_header=b"x-rand"))
    for _ in range(10):
        assert route.resolve(make_request("/", (b"x-rand", value.encode()))).cluster == cluster


@pytest.mark.parametrize("value", [b"-1", b"abc", b"", b"18446744073709551616", b"1" * 99, b"1_0"])
def test_a_header_that_is_no_number_leaves_it_to_chance(value: bytes) -> None:
    route = one_route(split(weighted_random_header=b"x-rand"))
    assert len({route.resolve(make_request("/", (b"x-rand", value))).cluster for _ in range(100)}) == 2


def test_runtime_weights() -> None:
    action = split(weighted_runtime_prefix="w")
    values = RuntimeValues(({"w": {"up": 0, "no": 0, "other": 3}},))
    route = one_route(action, values=values)
    assert {route.resolve(make_request()).cluster for _ in range(20)} == {"other"}
    nothing = one_route(action, values=RuntimeValues(({"w": {"up": 0, "no": 0, "other": 0}},)))
    assert nothing.resolve(make_request()).cluster == ""


def test_a_weighted_cluster_may_be_named_by_a_header() -> None:
    route = one_route(ForwardAction(weighted=(WeightedCluster("", 1, header=b"x-c"),)))
    assert route.resolve(make_request("/", (b"x-c", b"other"))).cluster == "other"
    assert route.resolve(make_request()).cluster == ""
