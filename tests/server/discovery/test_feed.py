"""What a worker makes of the journal: in slices, in order, and listeners only once they may listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pyproxy.config.cluster import AssignmentConfig
from pyproxy.config.late import LateValues
from pyproxy.config.listener import FilterConfig
from pyproxy.config.resources import ResourceCompiler, ResourceType
from pyproxy.config.route import RouteTableConfig
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.config.scoped_routes import ScopeConfig
from pyproxy.filters.builtin import EXTENSIONS
from pyproxy.server.discovery import feed as module
from pyproxy.server.discovery.feed import LiveParts, ResourceFeed
from pyproxy.server.discovery.journal import Journal, JournalReader, JournalWriter, Operation, Record
from tests.server.discovery.test_listeners import listener, routes_resource
from tests.server.discovery.world import cluster, hosts

PUT, REMOVE = Operation.PUT, Operation.REMOVE
CLUSTER, LISTENER = ResourceType.CLUSTER, ResourceType.LISTENER


class Clusters:
    """Writes down what there is."""

    def __init__(self) -> None:
        self.there: dict[str, Callable[[], Any]] = {}
        self.resolved: list[str] = []

    def put(self, name: str, config: Callable[[], Any], *, resolves: bool) -> None:
        self.there[name] = config
        if resolves:
            self.resolved.append(name)

    def remove(self, name: str) -> None:
        del self.there[name]


class Listeners:
    def __init__(self) -> None:
        self.there: dict[str, Any] = {}
        self.without_sockets: set[str] = set()

    async def put(self, config: Any) -> None:
        if config.name in self.without_sockets:
            raise LookupError("there is no socket")
        self.there[config.name] = config

    def remove(self, name: str) -> None:
        self.there.pop(name, None)

    def sockets_of(self, name: str) -> list[Any]:
        return []


class World:
    def __init__(self) -> None:
        self.journal = Journal()
        self.writer = JournalWriter(self.journal)
        self.clusters, self.listeners = Clusters(), Listeners()
        self.assignments = LateValues[AssignmentConfig]()
        self.routes = LateValues[RouteTableConfig]()
        self.virtual_hosts = LateValues[RouteTableConfig]()
        self.scopes = LateValues[tuple[ScopeConfig, ...]]()
        self.filters = LateValues[FilterConfig]()
        self.secrets = LateValues[bytes]()
        self.values = RuntimeValues(({},))
        live: Any = LiveParts(
            self.clusters,  # type: ignore[arg-type]
            self.assignments,
            self.routes,
            self.virtual_hosts,
            self.scopes,
            self.filters,
            self.secrets,
            self.values,
            {"layer": 0},
            self.listeners,  # type: ignore[arg-type]
        )
        loop = asyncio.get_running_loop()
        self.feed = ResourceFeed(
            loop, JournalReader(self.journal), live, ResourceCompiler(EXTENSIONS, True), lambda: None
        )

    async def write(self, *records: Record) -> None:
        self.writer.append(records)
        await self.apply()

    async def apply(self) -> None:
        self.feed.wake()
        assert self.feed._task is not None
        await self.feed._task


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    made.feed.close()
    made.journal.close()


async def test_resources_become_what_they_are(world: World) -> None:
    runtime = b"\x0a\x01x\x12\x10\x0a\x0e\x0a\x01k\x12\x09\x11\x00\x00\x00\x00\x00\x00\x08\x40"
    await world.write(
        Record(PUT, CLUSTER, "a", body=cluster("a", eds="s").body, resolves=True),
        Record(PUT, ResourceType.ENDPOINTS, "s", body=hosts("s", 80).body),
        Record(PUT, ResourceType.ROUTES, "r", body=routes_resource("r").body),
        Record(PUT, ResourceType.SECRET, "k", body=b"secret"),
        Record(PUT, ResourceType.RUNTIME, "layer", body=runtime),
        Record(PUT, ResourceType.RUNTIME, "other", body=runtime),
    )
    assert world.clusters.there["a"]().name == "a"
    assert world.clusters.resolved == ["a"]
    assigned = world.assignments.get("s")
    assert assigned is not None
    assert [one.address.port for one in assigned.endpoints] == [80]
    assert world.secrets.get("k") == b"secret"
    assert world.values.number("k", 0) == 3
    await world.write(
        Record(REMOVE, CLUSTER, "a"),
        Record(REMOVE, ResourceType.ENDPOINTS, "s"),
        Record(REMOVE, ResourceType.ROUTES, "r"),
        Record(REMOVE, ResourceType.SECRET, "k"),
        Record(REMOVE, ResourceType.RUNTIME, "layer"),
    )
    assert (world.clusters.there, world.assignments.names(), world.routes.names()) == ({}, set(), set())
    assert (world.secrets.names(), world.values.number("k", 0)) == (set(), 0)


async def test_listeners_wait_until_they_may_listen(world: World) -> None:
    await world.write(
        Record(PUT, LISTENER, "a", body=listener("a", 80).body),
        Record(PUT, LISTENER, "b", body=listener("b", 81).body),
        Record(REMOVE, LISTENER, "b"),
    )
    assert world.listeners.there == {}
    waiting = asyncio.ensure_future(world.feed.until_ready())
    await asyncio.sleep(0)
    assert not waiting.done()
    await world.write(Record(Operation.READY))
    await waiting
    await world.feed.begin_listening()
    assert set(world.listeners.there) == {"a"}
    await world.write(Record(PUT, LISTENER, "c", body=listener("c", 82).body))
    assert set(world.listeners.there) == {"a", "c"}
    await world.write(Record(REMOVE, LISTENER, "a"))
    assert set(world.listeners.there) == {"c"}


async def test_one_that_cannot_be_applied_does_not_keep_the_others_away(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.feed.begin_listening()
    world.listeners.without_sockets = {"a"}
    await world.write(
        Record(PUT, LISTENER, "a", body=listener("a", 80).body),
        Record(PUT, LISTENER, "broken", body=b"\xff"),
        Record(PUT, LISTENER, "b", body=listener("b", 81).body),
    )
    assert set(world.listeners.there) == {"b"}
    assert "listener 'a' does not accept connections: there is no socket" in caplog.text
    assert "'broken' cannot be applied" in caplog.text


async def test_what_a_state_that_was_written_anew_does_not_have_is_gone(world: World) -> None:
    body = cluster("x").body
    await world.write(*(Record(PUT, CLUSTER, name, body=body) for name in "abc"))
    world.writer.append([Record(REMOVE, CLUSTER, "b")])
    world.writer.rewrite([Record(PUT, CLUSTER, "c", body=body), Record(PUT, CLUSTER, "d", body=body)])
    await world.apply()
    assert set(world.clusters.there) == {"c", "d"}


async def test_what_is_large_is_compiled_beside_the_loop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGE", 10)
    seen: list[str] = []
    world.routes.watch("r", lambda table: seen.append("" if table is None else table.name))
    await world.feed.begin_listening()
    await world.write(
        Record(PUT, ResourceType.ROUTES, "r", body=routes_resource("r").body),
        Record(PUT, ResourceType.ROUTES, "unused", body=b"\xff" * 20),
        Record(PUT, LISTENER, "a", body=listener("a", 80).body),
    )
    assert seen == ["", "r"]
    assert set(world.listeners.there) == {"a"}


async def test_others_have_their_turn_while_much_is_applied(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(others())
    body = cluster("x").body
    await world.write(*(Record(PUT, CLUSTER, str(number), body=body) for number in range(200)))
    task.cancel()
    assert len(world.clusters.there) == 200
    assert turns >= 200
