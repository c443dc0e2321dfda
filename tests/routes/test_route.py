"""What a route does to messages and knows of its levels. Measured with Envoy 1.40."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.format import Format, Operator
from pyproxy.config.headers import HeaderAdd, HeaderChanges
from pyproxy.config.matchers import HeaderMatch, StringKind, StringMatch
from pyproxy.config.route import (
    FilterOverride,
    ForwardAction,
    HostRewrite,
    NonForwardingAction,
    PathRewrite,
    VirtualClusterConfig,
    WeightedCluster,
)
from pyproxy.http.message import Headers, Request, Response
from tests.http.requests import make_request
from tests.routes.live import one_route


def level(name: str) -> HeaderChanges:
    value = Format((name,))
    return HeaderChanges(
        (HeaderAdd(b"x-order", value), HeaderAdd(b"x-host", Format((Operator("REQ", ":authority"),)))),
        (),
        (HeaderAdd(b"y-order", value),),
        (),
    )


@pytest.mark.parametrize(("most_specific", "order"), [(False, "wrvt"), (True, "wtvr")])
def test_the_order_of_levels(most_specific: bool, order: str) -> None:
    entry = WeightedCluster("up", 100, headers=level("w"), host_rewrite="w.com")
    action = ForwardAction(
        weighted=(entry,), host_rewrite=HostRewrite(literal="r.com"), path_rewrite=PathRewrite(prefix="/n")
    )
    route = one_route(
        action,
        route={"headers": level("r")},
        host={"headers": level("v")},
        table={"headers": level("t"), "most_specific_headers_win": most_specific},
    )
    request = make_request("/a", authority="old.com")
    target = route.resolve(request)
    assert target.entry is entry
    assert target.mutate_request is not None
    assert target.mutate_response is not None
    target.mutate_request(request)
    response = Response(200, Headers())
    target.mutate_response(request, response)
    assert b"".join(request.headers.get_all(b"x-order")) == order.encode()
    assert request.headers.get_all(b"x-host") == [b"old.com", b"w.com", b"w.com", b"w.com"]
    assert b"".join(response.headers.get_all(b"y-order")) == order.encode()
    assert request.authority == b"r.com"
    assert request.headers.pairs[-2:] == [(b"x-envoy-original-host", b"w.com"), (b"x-envoy-original-path", b"/a")]


def test_a_plain_route_has_nothing_to_do() -> None:
    route = one_route(ForwardAction("up"))
    target = route.resolve(make_request())
    assert (target.cluster, target.mutate_request, target.mutate_response) == ("up", None, None)
    assert (route.answer, route.mutate_response, route.rewrite_host, route.virtual_cluster) == (None, None, None, None)
    assert target is route.resolve(make_request())


def test_a_header_names_the_cluster() -> None:
    route = one_route(ForwardAction(cluster_header=b"x-c", cluster_not_found_status=404), route={"headers": level("r")})
    assert route.resolve(make_request("/", (b"x-c", b"up"), (b"x-c", b"other"))).cluster == "up"
    assert route.not_found_status == 404
    for headers in ((), ((b"x-c", b""),), ((b"x-c", b"nope"),), ((b"x-c", b"\xff"),)):
        target = route.resolve(make_request("/", *headers))
        assert target.cluster == ""
        assert target.mutate_response is not None  # the local reply is changed too
    assert one_route(ForwardAction(cluster_header=b":authority")).resolve(make_request(authority="up")).cluster == "up"


def test_a_route_that_forwards_nothing() -> None:
    route = one_route(NonForwardingAction())
    assert (route.resolve(make_request()).cluster, route.not_found_status, route.answer) == ("", 503, None)


def test_filter_configs_of_the_most_specific_level_win() -> None:
    def says(*names: str, by: str) -> dict[str, FilterOverride]:
        return {name: FilterOverride(config=by) for name in names}

    entry = WeightedCluster("up", 1, filter_configs=says("a", by="w"))
    route = one_route(
        ForwardAction(weighted=(entry,)),
        route={"filter_configs": says("a", "b", by="r")},
        host={"filter_configs": says("a", "b", "c", by="v")},
        table={"filter_configs": says("a", "b", "c", "d", by="t")},
    )

    def config_of(name: str, request: Request | None = None) -> Any:
        found = route.filter_config(name, request)
        return found and found.config

    assert [config_of(name) for name in "abcde"] == ["r", "r", "v", "t", None]
    assert [config_of(name, make_request()) for name in "ab"] == ["w", "r"]


def test_virtual_clusters() -> None:
    def by(name: bytes, value: str) -> tuple[HeaderMatch, ...]:
        return (HeaderMatch(name, string=StringMatch(StringKind.EXACT, value)),)

    clusters = (VirtualClusterConfig("one", by(b":path", "/one")), VirtualClusterConfig("two", by(b":method", "GET")))
    route = one_route(ForwardAction("up"), host={"virtual_clusters": clusters})
    assert route.virtual_cluster is not None
    for request, name in [
        (make_request("/one"), "one"),
        (make_request("/x"), "two"),
        (make_request("/x", method=b"POST"), ""),
    ]:
        assert route.virtual_cluster(request) == name


def test_numbers_and_names() -> None:
    route = one_route(
        ForwardAction("up", timeout=1.5, idle_timeout=0.5, priority_high=True),
        route={"metadata": {"ns": {"k": 1}}},
        host={"include_attempt_count_in_request": True},
    )
    assert (route.name, route.virtual_host, route.metadata) == ("r", "v", {"ns": {"k": 1}})
    assert (route.timeout, route.timeout_ms, route.idle_timeout, route.max_stream_duration) == (1.5, b"1500", 0.5, None)
    assert (route.timers, route.priority_high) == (True, True)
    assert (route.attempt_count_in_request, route.attempt_count_in_response) == (True, False)
    assert not one_route(ForwardAction("up")).timers
