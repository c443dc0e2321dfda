"""Scoped routes and virtual hosts that come by themselves, from a control plane, beside a real Envoy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.learner import Learner
from tests.integration.worlds import ROUTER, ROUTES, URL, Ads, answer, chain, rds_manager, routes, web
from tests.server.bootstraps import Json
from tests.server.running import eventually

SCOPE = f"{URL}envoy.config.route.v3.ScopedRouteConfiguration"
HOST = f"{URL}envoy.config.route.v3.VirtualHost"
ON_DEMAND = f"{URL}envoy.extensions.filters.http.on_demand.v3.OnDemand"
FILTERS = [
    {"name": "envoy.filters.http.on_demand", "typed_config": {"@type": ON_DEMAND}},
    {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}},
]


@pytest.fixture(params=["envoy", "pyproxy"])
def which(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


pytestmark = pytest.mark.oracle


@pytest.fixture(params=["GRPC", "DELTA_GRPC"])
def world(request: pytest.FixtureRequest) -> Iterator[Ads]:
    made = Ads(request.param)
    yield made
    made.close()


@pytest.fixture
def delta() -> Iterator[Ads]:
    made = Ads("DELTA_GRPC")
    yield made
    made.close()


def scoped_manager(world: Ads, extractor: Json, scopes: Json, **more: Any) -> Json:
    """Routes are chosen by what `extractor` takes out of a header."""
    made = rds_manager(world, "web", "")
    config = made["typed_config"]
    del config["rds"]
    config["scoped_routes"] = {
        "name": "s",
        "scope_key_builder": {"fragments": [{"header_value_extractor": extractor}]},
        "rds_config_source": world.source(ROUTES),
        **scopes,
    }
    config.update(more)
    return made


def scope(name: str, key: str, table: str, **more: Any) -> Json:
    return {
        "name": name,
        "key": {"fragments": [{"string_key": key}]},
        "route_configuration_name": table,
        **more,
    }


BY_INDEX = {"name": "X-Scope", "element_separator": ",", "index": 1}
BY_KEY = {"name": "x-scope", "element_separator": ";", "element": {"separator": "=", "key": "v"}}


def test_scopes_come_change_and_go(which: str, world: Ads, tmp_path: Path) -> None:
    scopes = {"scoped_rds": {"scoped_rds_config_source": world.source(SCOPE)}}
    tables = [routes("r1", answer(201, "one")), routes("r2", answer(202, "two"))]
    world.put(ROUTES, *tables, routes("r3", answer(203, "three")))
    world.put(SCOPE, scope("s1", "1", "r1"), scope("s2", "2", "r2"))
    proxy = Learner(which, tmp_path / which, world, web(0, chain(scoped_manager(world, BY_KEY, scopes))))
    try:
        proxy.gets((201, "one"), **{"x-scope": "w=2;v=1"})
        assert proxy.get(**{"x-scope": "v=2;v=1"}) == (202, "two")
        for missing in ("v=3", "v", "1", "", "v=1 "):
            assert proxy.get(**{"x-scope": missing})[0] == (404 if missing != "v=1 " else 201)
        assert proxy.get()[0] == 404
        eventually(lambda: proxy.stats("scoped_rds").get("http.web.scoped_rds.s.all_scopes") == 2)
        (shown,) = proxy.dump("dynamic_scoped_route_configs")
        assert (shown["name"], len(shown["scoped_route_configs"])) == ("s", 2)
        world.put(SCOPE, scope("s1", "1", "r2"), scope("s3", "3", "r3"))
        proxy.gets((404, ""), **{"x-scope": "v=2"})
        proxy.gets((203, "three"), **{"x-scope": "v=3"})
        proxy.gets((202, "two"), **{"x-scope": "v=1"})
        world.put(ROUTES, *tables, routes("r3", answer(204)))
        proxy.gets((204, ""), **{"x-scope": "v=3"})
        world.put(SCOPE, scope("s1", "1", "r2"), scope("s3", "3", "r3"), scope("s4", "3", "r2"))
        eventually(lambda: len(world.server.refusals) == 1)
        assert "scope key conflict found" in world.server.refusals[0]
        assert proxy.get(**{"x-scope": "v=3"}) == (204, "")
    finally:
        proxy.stop()


def test_scopes_in_the_listener(which: str, world: Ads, tmp_path: Path) -> None:
    tables = {"1": routes("r1", answer(201, "one")), "2": routes("r2", answer(202, "two"))}
    found = [scope(f"s{key}", key, "", route_configuration=table) for key, table in tables.items()]
    scopes = {"scoped_route_configurations_list": {"scoped_route_configurations": found}}
    proxy = Learner(which, tmp_path / which, world, web(0, chain(scoped_manager(world, BY_INDEX, scopes))))
    try:
        proxy.gets((201, "one"), **{"x-scope": "a,1"})
        assert proxy.get(**{"x-scope": "a,2,b"}) == (202, "two")
        for missing in ("1", "a,", "a, 1", "1,a"):
            assert proxy.get(**{"x-scope": missing})[0] == 404
    finally:
        proxy.stop()


def test_a_scope_on_demand(which: str, world: Ads, tmp_path: Path) -> None:
    scopes = {"scoped_rds": {"scoped_rds_config_source": world.source(SCOPE)}}
    world.put(ROUTES, routes("r1", answer(201, "one")), routes("r2", answer(202, "two")))
    world.put(SCOPE, scope("s1", "1", "r1"), scope("s2", "2", "r2", on_demand=True))
    hcm = scoped_manager(world, BY_INDEX, scopes, http_filters=FILTERS)
    proxy = Learner(which, tmp_path / which, world, web(0, chain(hcm)))
    try:
        proxy.gets((201, "one"), **{"x-scope": ",1"})
        assert not any("r2" in names for _, names in world.server.requested)
        assert proxy.get(**{"x-scope": ",2"}) == (202, "two")
        assert any("r2" in names for _, names in world.server.requested)
        assert proxy.get(**{"x-scope": ",3"})[0] == 404
    finally:
        proxy.stop()


def host(name: str, domain: str, *found: Json) -> Json:
    return {"name": name, "domains": [domain], "routes": list(found)}


def vhds_routes(world: Ads, name: str, *hosts: Json) -> Json:
    return {"name": name, "virtual_hosts": list(hosts), "vhds": {"config_source": world.source(HOST)}}


def test_virtual_hosts_come_change_and_go(which: str, delta: Ads, tmp_path: Path) -> None:
    world = delta
    world.put(ROUTES, vhds_routes(world, "r", host("own", "own.test", answer(200, "own"))))
    world.put(HOST, host("r/a", "a.test", answer(201, "a")), host("x/b", "b.test", answer(201, "b")))
    proxy = Learner(which, tmp_path / which, world, web(0, chain(rds_manager(world, "web", "r"))))
    try:
        proxy.gets((201, "a"))
        assert proxy.get("own.test") == (200, "own")
        assert proxy.get("b.test")[0] == 404
        world.put(HOST, host("r/a", "a.test", answer(202, "a2")), host("r/c", "c.test", answer(203, "c")))
        proxy.gets((202, "a2"))
        proxy.gets((203, "c"), "c.test")
        world.put(HOST, host("r/c", "c.test", answer(203, "c")))
        proxy.gets((404, ""))
        assert proxy.get("c.test") == (203, "c")
        assert proxy.get("own.test") == (200, "own")
        world.put(HOST, host("r/c", "c.test", answer(203, "c")), host("r/d", "own.test", answer(204, "d")))
        eventually(lambda: len(world.server.refusals) == 1)
        assert proxy.get("own.test") == (200, "own")
    finally:
        proxy.stop()


def test_a_virtual_host_on_demand(which: str, delta: Ads, tmp_path: Path) -> None:
    world = delta
    world.server.on_demand = {HOST}
    world.put(ROUTES, vhds_routes(world, "r", host("own", "own.test", answer(200, "own"))))
    world.put(HOST, host("r/a.test", "a.test", answer(201, "a")), host("r/b.test:80", "b.test:*", answer(202, "b")))
    hcm = rds_manager(world, "web", "r", http_filters=FILTERS)
    proxy = Learner(which, tmp_path / which, world, web(0, chain(hcm)))
    try:
        proxy.gets((200, "own"), "own.test")
        assert not any("r/a.test" in names for _, names in world.server.requested)
        assert proxy.get("A.test") == (201, "a")
        assert (HOST, frozenset({"r/a.test"})) in world.server.requested
        assert proxy.get("a.test") == (201, "a")
        assert proxy.get("b.test:80") == (202, "b")
        assert proxy.get("unknown.test")[0] == 404
        assert (HOST, frozenset({"r/unknown.test"})) in world.server.requested
        world.put(HOST, host("r/a.test", "a.test", answer(203, "a3")), host("r/unknown.test", "*", answer(204)))
        proxy.gets((203, "a3"))
    finally:
        proxy.stop()
