"""One listener: accepts connections and hands each to the filter chain that takes it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any, Final, Protocol

from pyproxy.config.filter_chain_match import ANYTHING
from pyproxy.config.listener import ListenerConfig
from pyproxy.listeners.acceptor import Acceptor
from pyproxy.listeners.chain_matcher import ConnectionFacts, FilterChainMatcher
from pyproxy.listeners.filter_chain import FilterChain
from pyproxy.runtime import Runtime
from pyproxy.tasks import spawn
from pyproxy.telemetry.listener_stats import ListenerStats

_BACKLOG: Final = 4096
"""Connections that may wait to be accepted; the system has a bound of its own."""


class _Server(Protocol):
    """What takes the connections of one listen socket."""

    def close(self) -> None: ...


class Listener:
    """Accepts on its sockets until it is drained."""

    def __init__(self, config: ListenerConfig, runtime: Runtime) -> None:
        self.config = config
        self._runtime = runtime
        self._servers: list[tuple[socket.socket, _Server]] = []
        self._arriving = 0
        self.stats = ListenerStats(runtime.stats, config.stat_prefix or _stat_name(config))
        chains = [FilterChain(chain, config, runtime) for chain in config.filter_chains]
        default = config.default_filter_chain
        self._default = None if default is None else FilterChain(default, config, runtime)
        self._chains = chains if self._default is None else [*chains, self._default]
        self._matcher = FilterChainMatcher(((chain.config.match, chain) for chain in chains), self._default)
        self._only = self._chains[0] if _takes_everything(config) else None
        """The chain of every connection, so that none has to be looked at."""

    @property
    def connections(self) -> int:
        return sum(chain.connections for chain in self._chains) + self._arriving

    async def listen(self, sockets: list[socket.socket]) -> None:
        loop, backlog = self._runtime.loop, self.config.backlog or _BACKLOG
        for bound in sockets:
            server: Any
            if self._only is None:
                server = Acceptor(loop, bound, self._take)
                server.listen(backlog)
            elif bound.family == socket.AF_UNIX:
                server = await loop.create_unix_server(self._accept, sock=bound, backlog=backlog, **self._only.tls)
            else:
                server = await loop.create_server(self._accept, sock=bound, backlog=backlog, **self._only.tls)
            self._servers.append((bound, server))

    def _accept(self) -> Any:
        assert self._only is not None
        self.stats.downstream_cx_total.value += 1
        return self._only.open_connection()

    def _take(self, taken: socket.socket) -> None:
        """A connection came that only some chain takes."""
        chain = self._only or self._matcher.find(_facts(taken))
        if chain is None:
            self.stats.no_filter_chain_match.value += 1
            taken.close()
            return
        self._arriving += 1
        spawn(self._open(taken, chain), "accept").add_done_callback(self._arrived)

    async def _open(self, taken: socket.socket, chain: FilterChain) -> None:
        self.stats.downstream_cx_total.value += 1
        await self._runtime.loop.connect_accepted_socket(chain.open_connection, taken, **chain.tls)

    def _arrived(self, task: asyncio.Task[None]) -> None:
        self._arriving -= 1

    def stop_accepting(self) -> None:
        """Connections that wait in the queue of a socket are taken first: closing it would reset them."""
        for bound, server in self._servers:
            for waiting in _accept_all(bound):
                self._take(waiting)
            server.close()
        self._servers.clear()

    def drain(self) -> None:
        """Accept no more; connections end with the request that they are in."""
        self.stop_accepting()
        for chain in self._chains:
            chain.terminal.drain()

    def ask_to_leave(self) -> None:
        """Each connection ends with the request that it is in, or else with its next one."""
        for chain in self._chains:
            chain.terminal.ask_to_leave()

    def resume(self) -> None:
        """Connections that come from now on may stay."""
        for chain in self._chains:
            chain.terminal.resume()

    def __repr__(self) -> str:
        return f"<Listener {self.config.name} on {len(self._servers)} sockets, {self.connections} connections>"


def _takes_everything(config: ListenerConfig) -> bool:
    chains = config.filter_chains
    return not chains or (len(chains) == 1 and chains[0].match == ANYTHING)


def _facts(taken: socket.socket) -> ConnectionFacts:
    """What the socket tells. Until a listener filter says more, the bytes are taken for plain text (Envoy)."""
    if taken.family == socket.AF_UNIX:
        return ConnectionFacts()
    (host, port, *_), (peer, peer_port, *_) = taken.getsockname(), taken.getpeername()
    source = _address(peer)
    return ConnectionFacts(
        destination=_address(host),
        destination_port=port,
        source=source,
        source_port=peer_port,
        direct_source=source,
    )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """IPv4 that came in on an IPv6 socket is IPv4."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if address.version == 6 else None
    return mapped or address


def _accept_all(bound: socket.socket) -> Iterator[socket.socket]:
    while True:
        try:
            waiting, _ = bound.accept()
        except OSError:
            return
        waiting.setblocking(False)
        yield waiting


def _stat_name(config: ListenerConfig) -> str:
    """Envoy names a listener's statistics by its address, with `:` turned into `_`."""
    return str(config.addresses[0]).replace(":", "_")
