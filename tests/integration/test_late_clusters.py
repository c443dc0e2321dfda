"""Clusters that are asked for when a request needs them (ODCDS), beside a real Envoy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.learner import Learner
from tests.integration.upstream import Upstream
from tests.integration.worlds import (
    CLUSTER,
    ENDPOINTS,
    ROUTER,
    URL,
    Ads,
    assignment,
    chain,
    eds_cluster,
    host_cluster,
    web,
)
from tests.server.bootstraps import Json, manager
from tests.server.running import eventually

ON_DEMAND = f"{URL}envoy.extensions.filters.http.on_demand.v3."

pytestmark = pytest.mark.oracle


@pytest.fixture(params=["envoy", "pyproxy"])
def which(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def world() -> Iterator[Ads]:
    made = Ads("DELTA_GRPC")
    yield made
    made.close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


def by_header(world: Ads, *, in_route: bool = False, **more: Any) -> Json:
    """The header `x-to` says to which cluster."""
    odcds = {"odcds": {"source": world.source(CLUSTER), **more}}
    route: Json = {"match": {"prefix": "/"}, "route": {"cluster_header": "x-to"}}
    if in_route:
        route["typed_per_filter_config"] = {"od": {"@type": f"{ON_DEMAND}PerRouteConfig", **odcds}}
    made = manager("web", route)
    made["typed_config"]["http_filters"] = [
        {"name": "od", "typed_config": {"@type": f"{ON_DEMAND}OnDemand", **({} if in_route else odcds)}},
        {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}},
    ]
    return made


@pytest.mark.parametrize("in_route", [False, True])
def test_a_cluster_comes_when_it_is_needed(
    which: str, in_route: bool, world: Ads, upstream: Upstream, tmp_path: Path
) -> None:
    world.server.on_demand = {CLUSTER}
    world.put(CLUSTER, host_cluster("a", upstream.port), eds_cluster(world, "e"))
    world.put(ENDPOINTS, assignment("e", upstream.port))
    listener = web(0, chain(by_header(world, in_route=in_route)))
    proxy = Learner(which, tmp_path / which, world, listener, cds=False)
    try:
        proxy.gets((503, ""))
        assert not any(url == CLUSTER for url, _ in world.server.requested)
        assert proxy.get(path="/digest", **{"x-to": "a"})[0] == 200
        assert (CLUSTER, frozenset({"a"})) in world.server.requested
        assert proxy.get(path="/digest", **{"x-to": "e"})[0] == 200
        assert proxy.get(**{"x-to": "nobody"}) == (503, "")
        assert (CLUSTER, frozenset({"nobody"})) in world.server.requested
        asked = len(world.server.requested)
        assert proxy.get(path="/digest", **{"x-to": "a"})[0] == 200
        assert len(world.server.requested) == asked
        world.put(CLUSTER, eds_cluster(world, "e"))
        proxy.gets((503, ""), **{"x-to": "a"})
        assert proxy.get(path="/digest", **{"x-to": "e"})[0] == 200
    finally:
        proxy.stop()


def test_who_does_not_answer_is_not_waited_for(which: str, world: Ads, upstream: Upstream, tmp_path: Path) -> None:
    world.put(CLUSTER, {"name": "e", "type": "EDS", "eds_cluster_config": {"eds_config": world.source(ENDPOINTS)}})
    listener = web(0, chain(by_header(world, timeout="0.2s")))
    proxy = Learner(which, tmp_path / which, world, listener, cds=False)
    try:
        proxy.gets((503, ""), **{"x-to": "e"})
        world.put(ENDPOINTS, assignment("e", upstream.port))
        proxy.gets(proxy.get(path="/digest", **{"x-to": "e"}), path="/digest", **{"x-to": "e"})
    finally:
        proxy.stop()


def test_a_session_waits_for_its_cluster(which: str, world: Ads, upstream: Upstream, tmp_path: Path) -> None:
    world.server.on_demand = {CLUSTER}
    world.put(CLUSTER, host_cluster("a", upstream.port))
    proxied = {
        "@type": f"{URL}envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "t",
        "cluster": "a",
        "on_demand": {"odcds_config": world.source(CLUSTER)},
    }
    listener = web(0, chain({"name": "envoy.filters.network.tcp_proxy", "typed_config": proxied}))
    proxy = Learner(which, tmp_path / which, world, listener, cds=False)
    try:
        assert proxy.get(path="/digest")[0] == 200
        assert proxy.get(path="/digest")[0] == 200
        counts = {"attempt": 1, "success": 1}
        expected = {f"tcp.t.on_demand_cluster_{name}": count for name, count in counts.items()}
        eventually(lambda: expected.items() <= proxy.stats("on_demand_cluster").items())
    finally:
        proxy.stop()
