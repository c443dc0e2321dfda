"""Filters of which the configuration comes by itself (ECDS), beside a real Envoy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.learner import Learner
from tests.integration.worlds import LISTENER, ROUTER, URL, Ads, answer, chain, web
from tests.server.bootstraps import Json, at, manager
from tests.server.running import eventually
from tests.support.ports import LOOPBACK, free_ports

EXTENSION = f"{URL}envoy.config.core.v3.TypedExtensionConfig"
HEALTH = f"{URL}envoy.extensions.filters.http.health_check.v3.HealthCheck"
RBAC = f"{URL}envoy.extensions.filters.network.rbac.v3.RBAC"
PROXY = f"{URL}envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
STATS = "extension_config_discovery"

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


def health(path: str) -> Json:
    """Answers 200 to requests for a path."""
    match = {"name": ":path", "string_match": {"exact": path}}
    return {"@type": HEALTH, "pass_through_mode": False, "headers": [match]}


def discovered(world: Ads, name: str, *types: str, **more: Any) -> Json:
    return {"name": name, "config_discovery": {"config_source": world.source(EXTENSION), "type_urls": types, **more}}


def filtered(world: Ads, **more: Any) -> Json:
    """A manager that answers 201 to what the filter `hc` does not answer."""
    made = manager("web", answer(201, "x"))
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}
    made["typed_config"]["http_filters"] = [discovered(world, "hc", HEALTH, **more), router]
    return made


def test_the_configuration_of_a_filter_comes_changes_and_goes(which: str, world: Ads, tmp_path: Path) -> None:
    world.put(EXTENSION, {"name": "hc", "typed_config": health("/a")})
    proxy = Learner(which, tmp_path / which, world, web(0, chain(filtered(world))))
    try:
        proxy.gets((200, ""), path="/a")
        assert proxy.get(path="/b") == (201, "x")
        world.put(EXTENSION, {"name": "hc", "typed_config": health("/b")})
        proxy.gets((200, ""), path="/b")
        assert proxy.get(path="/a") == (201, "x")
        world.put(EXTENSION, {"name": "hc", "typed_config": {"@type": ROUTER}})
        eventually(lambda: len(world.server.refusals) == 1)
        assert "filter config has type URL envoy.extensions.filters.http.router.v3.Router" in world.server.refusals[0]
        assert proxy.get(path="/b") == (200, "")
        counts = {"config_fail": 1, "config_reload": 2, "update_success": 2, "update_rejected": 1}
        expected = {f"{STATS}.http_filter.hc.{name}": count for name, count in counts.items()}
        assert expected.items() <= proxy.stats(STATS).items()
        (shown,) = proxy.dump("ecds_filters")
        assert shown["ecds_filter"]["typed_config"]["headers"][0]["string_match"]["exact"] == "/b"
        if world._api_type == "DELTA_GRPC":
            world.put(EXTENSION)
            proxy.gets((500, ""), path="/b")
    finally:
        proxy.stop()


def test_until_it_comes_the_listener_waits(which: str, world: Ads, tmp_path: Path) -> None:
    plain = web(0, chain(manager("web", answer(201, "x"))))
    proxy = Learner(which, tmp_path / which, world, plain)
    try:
        proxy.gets((201, "x"))
        (late,) = free_ports(1)
        world.put(LISTENER, {**plain, "address": at(proxy.port)}, web(late, chain(filtered(world)), name="late"))
        warming = "listener_manager.total_listeners_warming"
        eventually(lambda: proxy.stats(f"^{warming}$")[warming] == 1)
        world.put(EXTENSION, {"name": "hc", "typed_config": health("/a")})
        proxy.port = late
        proxy.gets((200, ""), path="/a")
    finally:
        proxy.stop()


def test_one_that_is_refused_is_not_waited_for(which: str, world: Ads, tmp_path: Path) -> None:
    world.put(EXTENSION, {"name": "hc", "typed_config": {"@type": ROUTER}})
    proxy = Learner(which, tmp_path / which, world, web(0, chain(filtered(world))))
    try:
        proxy.gets((500, ""))
        world.put(EXTENSION, {"name": "hc", "typed_config": health("/a")})
        proxy.gets((200, ""), path="/a")
    finally:
        proxy.stop()


def test_a_default_is_used_at_once(which: str, world: Ads, tmp_path: Path) -> None:
    hcm = filtered(world, default_config=health("/d"), apply_default_config_without_warming=True)
    proxy = Learner(which, tmp_path / which, world, web(0, chain(hcm)))
    try:
        proxy.gets((200, ""), path="/d")
        world.put(EXTENSION, {"name": "hc", "typed_config": health("/a")})
        proxy.gets((200, ""), path="/a")
        assert proxy.get(path="/d") == (201, "x")
    finally:
        proxy.stop()


def test_network_filters(which: str, world: Ads, tmp_path: Path) -> None:
    def rules(action: str) -> Json:
        anybody = {"permissions": [{"any": True}], "principals": [{"any": True}]}
        return {"@type": RBAC, "stat_prefix": "r", "rules": {"action": action, "policies": {"p": anybody}}}

    filters = {"filters": [discovered(world, "rbac", RBAC), manager("web", answer(201, "x"))]}
    world.put(EXTENSION, {"name": "rbac", "typed_config": rules("ALLOW")})
    proxy = Learner(which, tmp_path / which, world, web(0, filters))
    try:
        proxy.gets((201, "x"))
        world.put(EXTENSION, {"name": "rbac", "typed_config": rules("DENY")})
        eventually(lambda: closed(proxy))
        world.put(EXTENSION, {"name": "rbac", "typed_config": rules("ALLOW")})
        proxy.gets((201, "x"))
    finally:
        proxy.stop()


def closed(proxy: Learner) -> bool:
    """Whether the next request is answered by nothing but an end."""
    try:
        proxy.get()
    except OSError:
        return True
    except Exception as error:  # noqa: BLE001 - http.client has several words for it
        return "closed" in str(error)
    return False


def test_listener_filters(which: str, world: Ads, tmp_path: Path) -> None:
    world.put(EXTENSION, {"name": "pp", "typed_config": {"@type": PROXY}})
    listener = web(0, chain(manager("web", answer(201, "x"))), listener_filters=[discovered(world, "pp", PROXY)])
    proxy = Learner(which, tmp_path / which, world, listener)
    request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"

    def with_header() -> bytes:
        try:
            with socket.create_connection((LOOPBACK, proxy.port), 10) as connection:
                connection.sendall(b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n" + request)
                return b"".join(iter(lambda: connection.recv(4096), b""))
        except OSError:
            return b""

    try:
        eventually(lambda: with_header().startswith(b"HTTP/1.1 201"))
        assert closed(proxy)
    finally:
        proxy.stop()
