"""One listener: accepts connections and hands each to the network filters of its filter chain."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any, Final

from pyproxy.config.listener import FilterChainConfig, ListenerConfig
from pyproxy.runtime import Runtime
from pyproxy.tasks import spawn
from pyproxy.telemetry.listener_stats import ListenerStats

_BACKLOG: Final = 4096
"""Connections that may wait to be accepted; the system has a bound of its own."""


class Listener:
    """Accepts on its sockets until it is drained."""

    def __init__(self, config: ListenerConfig, runtime: Runtime) -> None:
        self.config = config
        self._runtime = runtime
        self._servers: list[tuple[socket.socket, asyncio.AbstractServer]] = []
        self._arriving = 0
        self.stats = ListenerStats(runtime.stats, config.stat_prefix or _stat_name(config))
        chain = config.filter_chains[0] if config.filter_chains else config.default_filter_chain
        assert chain is not None
        self._chain = chain
        self._terminal = _build_chain(chain, runtime)

    @property
    def connections(self) -> int:
        count: int = self._terminal.connections
        return count + self._arriving

    async def listen(self, sockets: list[socket.socket]) -> None:
        loop, backlog = self._runtime.loop, self.config.backlog or _BACKLOG
        for bound in sockets:
            if bound.family == socket.AF_UNIX:
                server: Any = await loop.create_unix_server(self._accept, sock=bound, backlog=backlog)
            else:
                server = await loop.create_server(self._accept, sock=bound, backlog=backlog)
            self._servers.append((bound, server))

    def _accept(self) -> Any:
        self.stats.downstream_cx_total.value += 1
        connection = self._terminal.open_connection()
        connection.limit_buffers(self.config.buffer_limit)
        info = connection.info
        info.listener_name = self.config.name
        info.listener_metadata = self.config.metadata
        info.filter_chain_name = self._chain.name
        info.filter_chain_metadata = self._chain.metadata
        return connection

    def stop_accepting(self) -> None:
        """Connections that wait in the queue of a socket are taken first: closing it would reset them."""
        for bound, server in self._servers:
            for waiting in _accept_all(bound):
                self._arriving += 1
                spawn(self._take(waiting), "accept").add_done_callback(self._arrived)
            server.close()
        self._servers.clear()

    async def _take(self, waiting: socket.socket) -> None:
        await self._runtime.loop.connect_accepted_socket(self._accept, waiting)

    def _arrived(self, task: asyncio.Task[None]) -> None:
        self._arriving -= 1

    def drain(self) -> None:
        """Accept no more; connections end with the request that they are in."""
        self.stop_accepting()
        self._terminal.drain()

    def ask_to_leave(self) -> None:
        """Each connection ends with the request that it is in, or else with its next one."""
        self._terminal.ask_to_leave()

    def resume(self) -> None:
        """Connections that come from now on may stay."""
        self._terminal.resume()

    def __repr__(self) -> str:
        return f"<Listener {self.config.name} on {len(self._servers)} sockets, {self.connections} connections>"


def _accept_all(bound: socket.socket) -> Iterator[socket.socket]:
    while True:
        try:
            waiting, _ = bound.accept()
        except OSError:
            return
        yield waiting


def _build_chain(chain: FilterChainConfig, runtime: Runtime) -> Any:
    """The network filters of one chain; today each chain has one, which is its last."""
    return chain.filters[-1].config.build(runtime)


def _stat_name(config: ListenerConfig) -> str:
    """Envoy names a listener's statistics by its address, with `:` turned into `_`."""
    return str(config.addresses[0]).replace(":", "_")
