"""One listener: accepts connections and hands each to the filter chain that takes it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Protocol

from pyproxy.config.filter_chain_match import ANYTHING
from pyproxy.config.listener import FilterChainConfig, ListenerConfig
from pyproxy.config.socket_option import LISTENING
from pyproxy.listeners.acceptor import AT_ONCE, Acceptor
from pyproxy.listeners.chain_matcher import ConnectionFacts, FilterChainMatcher
from pyproxy.listeners.filter_chain import FilterChain
from pyproxy.listeners.guard import Guard
from pyproxy.listeners.inspection import Inspection
from pyproxy.listeners.named_chain_matcher import NamedChainMatcher
from pyproxy.network.incoming import Address, Incoming
from pyproxy.network.internal_listeners import CLIENT, Passed
from pyproxy.network.socket_options import set_options
from pyproxy.runtime import Runtime
from pyproxy.tasks import spawn
from pyproxy.telemetry.listener_stats import ListenerStats

_BACKLOG: Final = 4096
"""Connections that may wait to be accepted; the system has a bound of its own."""


SocketKey = str
"""See `ListenerConfig.socket_keys`."""

HandOver = Callable[[Address], "Listener | None"]


class _Server(Protocol):
    """What takes the connections of one listen socket."""

    def close(self) -> None: ...


class Listener:
    """Accepts on its sockets until it is drained."""

    def __init__(self, config: ListenerConfig, runtime: Runtime, hand_over: HandOver) -> None:
        """`hand_over` finds the listener for an address that a connection was redirected from."""
        self._runtime = runtime
        self._servers: dict[SocketKey, tuple[socket.socket, _Server]] = {}
        self._arriving = 0
        encrypted = any(chain.tls for chain in config.chains)
        name = config.stat_prefix or _stat_name(config)
        self.stats = ListenerStats(runtime.stats, name, runtime.worker, tls=encrypted)
        self._offer = hand_over
        self._default: FilterChain | None = None
        self._chains: list[FilterChain] = []
        self.config = config
        self._inspection: Inspection
        self._guards: list[Guard] = []
        """The last one lets in; those from before still write the log entries of connections that they have let in."""
        self._use(config, ())

    def _use(self, config: ListenerConfig, before: Iterable[FilterChain]) -> None:
        """Serve by this configuration, with those chains from before that are as it wants them. Raises OSError."""
        kept = {(chain.config.match, chain.config.name): chain for chain in before if chain is not self._default}
        chains = [self._chain(chain, kept.get((chain.match, chain.name)), config) for chain in config.filter_chains]
        default = None
        if config.default_filter_chain is not None:
            default = self._chain(config.default_filter_chain, self._default, config)
        if self._guards:
            self._inspection.close()
        self._inspection = Inspection(config, self.stats, self._runtime)
        if not self._guards or not _same_limits(config, self.config):
            self._guard = Guard(config, self._runtime, self.stats)
            self._guards.append(self._guard)
        self.config = config
        self._default = default
        self._chains = chains if default is None else [*chains, default]
        for chain in self._chains:
            chain.serve(config)
        self._matcher = _matcher(config, chains, default)
        self._only = self._chains[0] if _takes_everything(config) else None
        """The chain of every connection."""
        # Of TLS the contexts are replaced, which `create_server` does not allow.
        encrypted = any(chain.config.tls for chain in self._chains)
        self._looks = self._only is None or encrypted or bool(config.listener_filters) or self._guard.needed
        self._hand_over = self._offer if config.use_original_dst else None

    def _chain(self, config: FilterChainConfig, before: FilterChain | None, listener: ListenerConfig) -> FilterChain:
        if before is not None and before.config == config:
            return before
        return FilterChain(config, listener, self._runtime, self.stats)

    async def update(self, config: ListenerConfig) -> list[FilterChain]:
        """Serve by another configuration. Connections on chains that it has too live on; the other chains are given
        back, for their connections to end. Sockets are not looked at."""
        before, looked = self._chains, self._looks
        self._use(config, before)
        if self._looks != looked:
            servers, self._servers = self._servers, {}
            for _, server in servers.values():
                server.close()
            await self.listen({key: bound for key, (bound, _) in servers.items()})
        kept = {id(chain) for chain in self._chains}
        return [chain for chain in before if id(chain) not in kept]

    @property
    def connections(self) -> int:
        return sum(chain.connections for chain in self._chains) + self._arriving

    @property
    def sockets(self) -> dict[SocketKey, socket.socket]:
        """What it accepts from."""
        return {key: bound for key, (bound, _) in self._servers.items()}

    async def listen(self, sockets: Mapping[SocketKey, socket.socket]) -> None:
        """The sockets stay ours: what takes from them has copies."""
        loop, backlog = self._runtime.loop, self.config.backlog or _BACKLOG
        for key, bound in sockets.items():
            server: Any
            if self._only is None or self._looks:
                server = Acceptor(loop, bound, self._take, self.config.accepts_at_once or AT_ONCE)
                server.listen(backlog)
            elif bound.family == socket.AF_UNIX:
                server = await loop.create_unix_server(self._accept, sock=bound.dup(), backlog=backlog)
            else:
                server = await loop.create_server(self._accept, sock=bound.dup(), backlog=backlog)
            self._servers[key] = (bound, server)
            set_options(bound, self.config.options_of(key), LISTENING)

    def give_up(self, key: SocketKey) -> socket.socket:
        """Accept no more from one socket, which another listener goes on with: nobody who waits in it is lost."""
        bound, server = self._servers.pop(key)
        server.close()
        return bound

    def _accept(self) -> Any:
        assert self._only is not None
        self.stats.downstream_cx_total.value += 1
        return self._only.open_connection()

    def _take(self, taken: socket.socket) -> None:
        """A connection came that has to be looked at first."""
        try:
            incoming = Incoming(taken, self._runtime.loop)
        except OSError:  # it has gone already
            taken.close()
            return
        self._welcome(incoming)

    def _welcome(self, incoming: Incoming) -> None:
        if not self._guard.let_in(incoming):
            incoming.close()
            return
        self._arriving += 1
        spawn(self._arrive(incoming), "accept").add_done_callback(self._arrived)

    async def _arrive(self, incoming: Incoming) -> None:
        """Look at it, then let the listener that it was meant for open it."""
        if not await self._inspection.look(incoming):
            self._guard.log_end(incoming)
            incoming.close()
            return
        listener = self._hand_over(incoming.destination) if self._hand_over and incoming.restored else None
        await (listener or self).open(incoming)

    async def open(self, incoming: Incoming) -> None:
        """Give it to the filter chain that takes it."""
        self._guard.log_end(incoming)
        chain = self._only or self._matcher.find(_facts(incoming))
        if chain is None:
            incoming.unmatched = True
            self.stats.no_filter_chain_match.value += 1
            incoming.close()
            return
        self.stats.downstream_cx_total.value += 1
        if not chain.ready:
            self.stats.downstream_context_secrets_not_ready.value += 1
            incoming.close()
            return
        factory = partial(chain.open_connection, incoming)
        try:
            await self._runtime.loop.connect_accepted_socket(factory, incoming.sock, **chain.tls)
        except OSError as error:  # a handshake that failed, or a peer that has gone
            self.stats.ssl.count_failure(error)
            incoming.left()

    def take_internal(self, taken: socket.socket, endpoint_id: str, passed: Passed) -> None:
        """A connection came from a cluster of this worker."""
        destination = f"envoy://{self.config.name}/{endpoint_id}"
        incoming = Incoming(taken, self._runtime.loop, ((destination, 0), (CLIENT, 0)))
        incoming.metadata.update(passed.metadata)
        incoming.state = passed.state
        self._welcome(incoming)

    def _arrived(self, task: asyncio.Task[None]) -> None:
        self._arriving -= 1

    def stop_accepting(self, keys: Collection[SocketKey] | None = None) -> None:
        """Connections that wait in the queue of a socket are taken first: closing it would reset them."""
        for key in list(self._servers) if keys is None else keys:
            bound, server = self._servers.pop(key)
            for waiting in _accept_all(bound):
                self._take(waiting)
            server.close()
            bound.close()

    def drain(self) -> None:
        """Accept no more; connections end with the request that they are in."""
        self.stop_accepting()
        for chain in self._chains:
            chain.terminal.drain()
            chain.close()

    def close(self) -> None:
        """Close what is still open, and forget everything."""
        self.stop_accepting()
        for chain in self._chains:
            chain.end()
        for guard in self._guards:
            guard.close()
        self._inspection.close()
        self.stats.close()

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
    if config.chain_matcher is not None:
        return False
    return not chains or (len(chains) == 1 and chains[0].match == ANYTHING)


def _same_limits(one: ListenerConfig, other: ListenerConfig) -> bool:
    return (one.access_logs, one.ignores_global_limit) == (other.access_logs, other.ignores_global_limit)


def _matcher(config: ListenerConfig, chains: list[FilterChain], default: FilterChain | None) -> Any:
    if config.chain_matcher is not None:
        return NamedChainMatcher(config.chain_matcher, {chain.config.name: chain for chain in chains}, default)
    return FilterChainMatcher(((chain.config.match, chain) for chain in chains), default)


def _facts(incoming: Incoming) -> ConnectionFacts:
    """What no listener filter has looked at is taken for plain text (Envoy)."""
    return ConnectionFacts(
        destination=_address(incoming.destination[0]),
        destination_port=incoming.destination[1],
        source=_address(incoming.source[0]),
        source_port=incoming.source[1],
        direct_source=_address(incoming.direct_source[0]),
        server_name=incoming.server_name,
        transport_protocol=incoming.transport_protocol or "raw_buffer",
        application_protocols=incoming.application_protocols,
    )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """IPv4 that came in on an IPv6 socket is IPv4; a path is no address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
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
    return f"envoy_internal_{config.name}" if config.internal else str(config.addresses[0]).replace(":", "_")
