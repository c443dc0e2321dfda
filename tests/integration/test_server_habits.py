"""Habits of control planes that exist, and collections of `xdstp://`: pyproxy gets along with them as Envoy does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.learner import Learner
from tests.integration.upstream import Upstream
from tests.integration.worlds import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    Ads,
    assignment,
    chain,
    eds_cluster,
    host_cluster,
    rds_manager,
    routes,
    to_cluster,
    web,
)
from tests.server.bootstraps import at, manager
from tests.server.running import eventually

pytestmark = pytest.mark.oracle


@pytest.fixture(params=["envoy", "pyproxy"])
def which(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["GRPC", "DELTA_GRPC"])
def world(request: pytest.FixtureRequest) -> Iterator[Ads]:
    made = Ads(request.param)
    yield made
    made.close()


def test_hosts_unasked_listeners_held_back_and_names_together(which: str, world: Ads, tmp_path: Path) -> None:
    server = world.server
    server.holds = {LISTENER: ENDPOINTS}
    server.unasked = {CLUSTER: ENDPOINTS}
    server.all_or_nothing = {ENDPOINTS, ROUTES}
    with Upstream() as first, Upstream() as second:
        world.put(ENDPOINTS, assignment("a", first.port), assignment("b", first.port))
        world.put(CLUSTER, eds_cluster(world, "a"), eds_cluster(world, "b"))
        world.put(ROUTES, routes("r", to_cluster("a")))
        hcm = rds_manager(world, "web", "r")
        proxy = Learner(which, tmp_path / which, world, web(0, chain(hcm)))
        try:
            eventually(lambda: proxy.stats("^listener_manager.lds.update_success$"))
            status, _ = proxy.get(path="/digest")
            assert status == 200
            clusters = [eds_cluster(world, name) for name in "abc"]
            world.put(LISTENER, web(proxy.port, chain(rds_manager(world, "changed", "r"))))
            world.put(ENDPOINTS, *(assignment(name, second.port) for name in "abc"))
            world.put(CLUSTER, *clusters)
            world.put(ROUTES, routes("r", to_cluster("c")))

            def arrived() -> bool:
                return proxy.get(path="/digest")[0] == 200 and second.connections > 0

            eventually(arrived)
            eventually(lambda: proxy.stats("^http.changed.downstream_rq_total$"))
            assert server.refusals == []
        finally:
            proxy.stop()


def test_collections(which: str, tmp_path: Path) -> None:
    world = Ads("DELTA_GRPC")
    name = "xdstp://plane/envoy.config.{}/x/{}".format
    listeners, clusters = (name(kind, "*") for kind in ("listener.v3.Listener", "cluster.v3.Cluster"))
    try:
        with Upstream() as upstream:
            mine = name("cluster.v3.Cluster", "a")
            world.put(CLUSTER, host_cluster(mine, upstream.port), host_cluster("b", upstream.port))
            hcm = manager("web", to_cluster(mine))
            listener = web(0, chain(hcm), name=name("listener.v3.Listener", "web"))
            proxy = Learner(which, tmp_path / which, world, listener, locators=(listeners, clusters))
            try:
                eventually(lambda: proxy.stats("^cluster_manager.active_clusters$"))
                eventually(lambda: proxy.get(path="/digest")[0] == 200)
                assert (CLUSTER, frozenset({clusters})) in world.server.requested
                assert (LISTENER, frozenset({listeners})) in world.server.requested
                assert proxy.stats("^cluster_manager.active_clusters$") == {"cluster_manager.active_clusters": 2}
                world.put(LISTENER, {**listener, "address": at(proxy.port), "stat_prefix": "other"})
                eventually(lambda: proxy.stats("^listener_manager.listener_modified$").popitem()[1] == 1)
            finally:
                proxy.stop()
    finally:
        world.close()
