"""Listeners of a worker at run time, on real sockets: added, changed in place, moved between ports, removed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from pyproxy.clusters.manager import ClusterManager
from pyproxy.config.address import AddressConfig
from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.filter_chain_match import FilterChainMatch
from pyproxy.config.listener import FilterChainConfig, FilterConfig, ListenerConfig
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.filters.network.echo import EchoConfig
from pyproxy.listeners.manager import ListenerManager
from pyproxy.network.cork import Cork
from pyproxy.network.secret_watch import SecretWatch
from pyproxy.runtime import Runtime
from pyproxy.tasks import DeadlineTable
from pyproxy.telemetry.logs import AccessLogs
from pyproxy.telemetry.metrics import StatsStore
from tests.support.ports import LOOPBACK

ECHO = FilterConfig("echo", "echo", EchoConfig())


def chain(name: str = "", *, port: int = 0) -> FilterChainConfig:
    """`port` is one that a downstream comes from."""
    match = FilterChainMatch(source_ports=(port,)) if port else FilterChainMatch()
    return FilterChainConfig(name, (ECHO,), match=match)


def bound() -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind((LOOPBACK, 0))
    return sock


def listener(name: str, *sockets: socket.socket, chains: tuple[FilterChainConfig, ...] = (chain(),)) -> ListenerConfig:
    addresses = tuple(AddressConfig(*sock.getsockname()) for sock in sockets)
    return ListenerConfig(name, addresses, chains)


class Stand:
    """A manager of listeners, and those who connect."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        stats, deadlines, values = StatsStore(), DeadlineTable(loop), RuntimeValues()
        self.clusters = ClusterManager(loop, stats, deadlines, values)
        runtime = Runtime(
            loop=loop,
            deadlines=deadlines,
            stats=stats,
            clusters=self.clusters,
            access_logs=AccessLogs(loop),
            values=values,
            node=NodeConfig(),
            cork=Cork(loop),
            secrets=SecretWatch(loop),
        )
        self.manager = ListenerManager(runtime, drain_seconds=0.3)
        self.open: list[socket.socket] = []

    def offer(self, *sockets: socket.socket) -> None:
        for sock in sockets:
            self.manager.offer(str(AddressConfig(*sock.getsockname())), sock)

    async def connect(self, address: tuple[str, int]) -> socket.socket:
        """Raises OSError."""
        sock = socket.socket()
        sock.setblocking(False)
        self.open.append(sock)
        await asyncio.get_running_loop().sock_connect(sock, address)
        return sock

    async def echoes(self, sock: socket.socket) -> bool:
        """Whether somebody still answers there."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            await loop.sock_sendall(sock, b"x")
            return await loop.sock_recv(sock, 10) == b"x"
        return False

    async def until(self, connections: int) -> None:
        while self.manager.connections_active != connections:
            await asyncio.sleep(0.01)


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    made = Stand()
    yield made
    for name in list(made.manager._listeners):
        made.manager.remove(name)
    for sock in made.open:
        sock.close()
    while made.manager.leaving != (0, 0):
        await asyncio.sleep(0.01)
    made.clusters.close()


async def test_a_listener_comes_and_goes(stand: Stand) -> None:
    sock = bound()
    address = sock.getsockname()
    with pytest.raises(LookupError, match="there is no socket"):
        await stand.manager.put(listener("a", sock))
    stand.offer(sock)
    await stand.manager.put(listener("a", sock))
    downstream = await stand.connect(address)
    assert await stand.echoes(downstream)
    stand.manager.remove("a")
    assert await stand.echoes(downstream)  # until the time to drain is over
    await stand.until(0)
    assert not await stand.echoes(downstream)
    with pytest.raises(OSError):
        await stand.connect(address)


async def test_a_changed_listener_keeps_the_connections_of_equal_chains(stand: Stand) -> None:
    sock = bound()
    address = sock.getsockname()
    stand.offer(sock)
    await stand.manager.put(listener("a", sock, chains=(chain("kept"), chain("gone", port=1))))
    kept = await stand.connect(address)
    assert await stand.echoes(kept)
    await stand.manager.put(listener("a", sock, chains=(chain("kept"),)))
    assert stand.manager.leaving == (0, 1)
    await stand.manager.put(listener("a", sock, chains=(chain("other"),)))
    new = await stand.connect(address)
    assert await stand.echoes(new)
    assert await stand.echoes(kept)
    while stand.manager.leaving != (0, 0):
        await asyncio.sleep(0.01)
    assert not await stand.echoes(kept)
    assert await stand.echoes(new)


async def test_a_listener_moves_to_another_port(stand: Stand) -> None:
    first, second = bound(), bound()
    old, new = first.getsockname(), second.getsockname()
    stand.offer(first, second)
    await stand.manager.put(listener("a", first))
    downstream = await stand.connect(old)
    await stand.manager.put(listener("a", second))
    assert await stand.echoes(await stand.connect(new))
    assert await stand.echoes(downstream)
    while True:
        try:
            (await stand.connect(old)).close()
        except OSError:
            break
        await asyncio.sleep(0.02)


async def test_a_socket_goes_from_one_listener_to_another(stand: Stand) -> None:
    sock = bound()
    address = sock.getsockname()
    stand.offer(sock)
    await stand.manager.put(listener("a", sock))
    before = await stand.connect(address)
    assert await stand.echoes(before)
    await stand.manager.put(listener("b", sock))
    stand.manager.remove("a")
    for _ in range(5):
        assert await stand.echoes(await stand.connect(address))
    assert stand.manager.sockets_of("b") == [sock]


async def test_what_is_equal_is_left_alone(stand: Stand) -> None:
    sock = bound()
    stand.offer(sock)
    await stand.manager.put(listener("a", sock))
    await stand.manager.put(listener("a", sock))
    assert stand.manager.leaving == (0, 0)
    stand.manager.remove("nobody")
