"""LDS in the manager: listeners come with their sockets and routes, change, swap addresses and go."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pyproxy.config.listener import ListenerConfig
from pyproxy.config.resources import ResourceType
from pyproxy.server.discovery import listeners as module
from pyproxy.server.discovery.extension_configs import ExtensionConfigs
from pyproxy.server.discovery.listeners import Listeners
from pyproxy.server.discovery.routes import Routes
from pyproxy.server.discovery.scopes import ScopedRoutes
from pyproxy.server.discovery.sources import Sources
from pyproxy.server.discovery.virtual_hosts import VirtualHosts
from pyproxy.xds_client.subscription import Resource, Update
from tests.integration.worlds import answer, routes
from tests.server.bootstraps import HELLO, at, manager
from tests.server.discovery.world import COMPILER, ManagerWorld
from tests.support.snapshot_server import message_of

ROUTES, LISTENER = ResourceType.ROUTES, ResourceType.LISTENER


class Sockets:
    """A publisher that brings nothing anywhere: which sockets are open, and what the workers would read."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.steps: list[str] = []
        self.there: dict[str, bytes] = {}

    def has(self, key: str) -> bool:
        return key in self.open

    def keep(self, key: str, sockets: tuple[socket.socket, ...]) -> None:
        assert key not in self.open
        self.open.add(key)

    def put_listener(self, name: str, version: str, body: bytes, keys: Collection[str]) -> None:
        assert self.open.issuperset(keys)
        self.steps.append(f"put {name}")
        self.there[name] = body

    def remove_listener(self, name: str) -> None:
        self.steps.append(f"remove {name}")
        del self.there[name]

    def close_sockets(self, keys: Collection[str]) -> None:
        self.steps.append(f"close {' '.join(keys)}")
        self.open -= set(keys)


class ListenersWorld(ManagerWorld):
    """With LDS and RDS."""

    def __init__(self, static: tuple[ListenerConfig, ...] = ()) -> None:
        self.sockets: Any = Sockets()
        self.refused_ports: set[int] = set()
        super().__init__()
        sources = Sources(self.loop, lambda config: self.source, allow_unknown=True)
        self.hosts = VirtualHosts(self.loop, sources, self.store, COMPILER)
        self.routes = Routes(self.loop, sources, self.store, COMPILER, self.hosts)
        self.filters = ExtensionConfigs(self.loop, sources, self.store, COMPILER)
        self.scopes = ScopedRoutes(self.loop, sources, self.store, COMPILER, self.routes)
        self.sockets.open |= {key for one in static for key in one.socket_keys}
        self.listeners = Listeners(
            self.store,
            self.routes,
            self.scopes,
            self.secrets,
            self.filters,
            COMPILER,
            static,
            self.sockets,
            frozenset,
            1,
            self._changed,
        )

    def lds(self, *resources: Resource, removed: tuple[str, ...] = ()) -> Mapping[str, str]:
        found = self.listeners.on_update(Update(LISTENER.url, "v", resources, removed, False))
        self.loop.turn()
        return found

    def rds(self, name: str) -> None:
        self.source.send(ROUTES.url, routes_resource(name))
        self.loop.turn()


def routes_resource(name: str) -> Resource:
    body = message_of({"@type": ROUTES.url, **routes(name, answer(200))}).SerializeToString(deterministic=True)
    return Resource(name, "v", body)


def listener(name: str, *ports: int, rds: str = "", salt: str = "x", **more: Any) -> Resource:
    network_filter = manager(salt, HELLO)
    if rds:
        del network_filter["typed_config"]["route_config"]
        network_filter["typed_config"]["rds"] = {"config_source": {"ads": {}}, "route_config_name": rds}
    first, *others = ports
    data = {
        "@type": LISTENER.url,
        "name": name,
        "address": at(first),
        "additional_addresses": [{"address": at(port)} for port in others],
        "filter_chains": [{"filters": [network_filter]}],
        **more,
    }
    return Resource(name, "v", message_of(data).SerializeToString(deterministic=True))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[ListenersWorld]:
    made = ListenersWorld()

    def open_address(config: ListenerConfig, address: Any, workers: int) -> tuple[()]:
        if address.port in made.refused_ports:
            raise OSError(98, "Address already in use")
        return ()

    monkeypatch.setattr(module, "open_address", open_address)
    yield made
    made.close()


def test_one_is_in_force_once_its_routes_are_known(world: ListenersWorld) -> None:
    assert world.lds(listener("a", 80, rds="r"), listener("b", 81)) == {}
    assert (set(world.sockets.there), set(world.listeners.warming)) == ({"b"}, {"a"})
    assert world.source.watched[ROUTES.url] == {"r"}
    world.rds("r")
    assert set(world.sockets.there) == {"a", "b"}
    world.lds(removed=("a", "b"))
    assert (world.sockets.there, world.sockets.open) == ({}, set())
    assert world.source.watched[ROUTES.url] == set()
    assert world.names(ROUTES) == set()


def test_a_port_moves_and_its_socket_stays(world: ListenersWorld) -> None:
    world.lds(listener("a", 80))
    world.lds(listener("b", 80), removed=("a",))
    assert world.sockets.steps == ["put a", "put b", "remove a"]
    assert world.sockets.open == {"127.0.0.1:80"}


def test_the_old_one_stays_until_the_new_one_has_its_routes(world: ListenersWorld) -> None:
    world.lds(listener("a", 80))
    world.lds(listener("b", 80, rds="r"), removed=("a",))
    assert world.sockets.steps == ["put a"]
    world.rds("r")
    assert world.sockets.steps == ["put a", "put b", "remove a"]


def test_the_old_one_goes_when_the_new_one_does_not_come(world: ListenersWorld) -> None:
    world.lds(listener("a", 80))
    world.lds(listener("b", 80, rds="r"), removed=("a",))
    world.lds(removed=("b",))
    assert world.sockets.steps == ["put a", "remove a", "close 127.0.0.1:80"]


def test_it_may_move_to_another_port(world: ListenersWorld) -> None:
    world.lds(listener("a", 80))
    world.lds(listener("a", 81, 82))
    assert world.sockets.steps == ["put a", "put a", "close 127.0.0.1:80"]
    assert world.sockets.open == {"127.0.0.1:81", "127.0.0.1:82"}


def test_what_cannot_be_is_refused_and_changes_nothing(world: ListenersWorld) -> None:
    world.lds(listener("a", 80))
    before = (dict(world.sockets.there), set(world.sockets.open))
    world.refused_ports = {90}
    found = world.lds(
        listener("b", 80),
        listener("c", 91, 90),
        listener("d", 92, filter_chains=[]),
        listener("a", 80, salt="y", enable_reuse_port=False),
        listener("e", 93),
        listener("e", 94),
    )
    assert found["b"] == "address: 127.0.0.1:80 is the address of the listener 'a'"
    assert found["c"].startswith("address: cannot listen on 127.0.0.1:90: address already in use")
    assert found["d"] == "filter_chains: is empty; expected at least one filter chain"
    assert found["a"] == "enable_reuse_port: cannot be changed while the listener is there (Envoy)"
    assert found["e"] == "duplicate listener 'e'"
    world.lds(removed=("e",))
    assert (world.sockets.there, world.sockets.open) == before
    assert world.listeners.failed_to_create == 1


def test_listeners_of_the_bootstrap_stay_as_they_are() -> None:
    static = COMPILER.listener(listener("a", 80).body)
    world = ListenersWorld((static,))
    assert world.lds(listener("a", 81)) == {}
    assert world.lds(listener("b", 80)) == {"b": "address: 127.0.0.1:80 is the address of the listener 'a'"}
    assert world.sockets.there == {}
    world.lds(removed=("a",))
    assert world.sockets.open == {"127.0.0.1:80"}
    world.close()


NAMES = st.sampled_from(["a", "b", "c"])
PORTS = st.lists(st.integers(1, 3), min_size=1, max_size=2, unique=True)


class ListenersMachine(RuleBasedStateMachine):
    """Whatever comes in whatever order, no socket is open that nobody uses, and none used that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.world = ListenersWorld()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(module, "open_address", lambda config, address, workers: ())
        self.wanted: dict[str, bytes] = {}

    def teardown(self) -> None:
        self.patch.undo()
        self.world.close()

    @rule(name=NAMES, ports=PORTS, rds=st.sampled_from(["", "r", "s"]), removed=st.sets(NAMES))
    def put(self, name: str, ports: list[int], rds: str, removed: set[str]) -> None:
        resource = listener(name, *ports, rds=rds)
        gone = tuple(sorted(removed - {name}))
        found = self.world.lds(resource, removed=gone)
        for one in gone:
            self.wanted.pop(one, None)
        if not found:
            self.wanted[name] = resource.body

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self.world.lds(removed=(name,))
        self.wanted.pop(name, None)

    @rule(name=st.sampled_from(["r", "s"]))
    def routes_come(self, name: str) -> None:
        if ROUTES.url in self.world.source.sinks:
            self.world.rds(name)

    @rule()
    def time_passes(self) -> None:
        self.world.loop.pass_time(20)
        assert self.world.sockets.there == self.wanted

    @invariant()
    def sockets_are_open_as_long_as_they_are_used(self) -> None:
        listeners = self.world.listeners
        configs = [*listeners.active.values(), *(one.config for one in listeners.warming.values())]
        assert self.world.sockets.open == {key for one in configs for key in one.socket_keys}

    @invariant()
    def what_came_last_is_there_or_waits(self) -> None:
        for name, body in self.wanted.items():
            warming = self.world.listeners.warming.get(name)
            assert (self.world.sockets.there[name] if warming is None else warming.resource.body) == body

    @invariant()
    def only_needed_routes_are_asked_for(self) -> None:
        listeners = self.world.listeners
        configs = [*listeners.active.values(), *(one.config for one in listeners.warming.values())]
        needed = {name for one in configs for _, name in one.routes_elsewhere}
        assert self.world.source.watched.get(ROUTES.url, set()) == needed


ListenersMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestListenersMachine = ListenersMachine.TestCase
