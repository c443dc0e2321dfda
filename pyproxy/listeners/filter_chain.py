"""One live filter chain: what its network filters make of a connection."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pyproxy import openssl
from pyproxy.config.listener import FilterChainConfig, ListenerConfig
from pyproxy.config.tls import DownstreamTlsConfig
from pyproxy.filters.common.connection_state import apply_state, share_state
from pyproxy.filters.common.network_filter import STAYS, NetworkFilter
from pyproxy.listeners.discovered import build_filter, close_filters
from pyproxy.network.incoming import Incoming
from pyproxy.network.secret_watch import Tls
from pyproxy.network.transport_sockets.ocsp import Stapler
from pyproxy.network.transport_sockets.tls import server_context
from pyproxy.network.transport_sockets.tls_arrival import TlsArrivals
from pyproxy.runtime import Runtime
from pyproxy.telemetry.listener_stats import ListenerStats

_ODD: Final = re.compile(r"[^\w.-]", re.ASCII)
"""What a name in a log may not hold: a line end would begin another entry (CVE-2024-45808)."""


class FilterChain:
    """Opens connections for its last filter, and tells it when they have to leave."""

    __slots__ = ("_arrivals", "_filters", "_forget", "_listener", "_stats", "config", "terminal", "tls")

    def __init__(
        self, config: FilterChainConfig, listener: ListenerConfig, runtime: Runtime, stats: ListenerStats
    ) -> None:
        self.config = config
        self._listener = listener
        self._stats = stats
        *others, last = config.filters
        self._filters: list[NetworkFilter] = [
            build_filter(one, runtime, stats.network_extension_config_missing) for one in others
        ]
        self.terminal: Any = last.config.build(runtime)
        self.terminal.count_for(stats)
        for one in self._filters:
            if hasattr(one, "observe_sessions") and hasattr(self.terminal, "observers"):
                self.terminal.observers.append(one.observe_sessions())
        self.tls: dict[str, Any] = {}
        """What the loop is told of TLS when it opens a connection; nothing for plain text."""
        self._arrivals: TlsArrivals | None = None
        self._forget: Callable[[], None] | None = None
        if config.tls is not None:
            if not config.tls.pending:
                self._use(config.tls)
            source = config.tls.source
            if source is not None:
                self._forget = runtime.secrets.follow(source, self._take)

    @property
    def ready(self) -> bool:
        """Whether connections can be opened: its certificates are here, if it needs some."""
        return self.config.tls is None or self._arrivals is not None

    def serve(self, listener: ListenerConfig) -> None:
        """The listener has changed, and this chain of it has not."""
        self._listener = listener

    def close(self) -> None:
        """No more connections: its files need not be watched."""
        if self._forget is not None:
            self._forget()
            self._forget = None
        close_filters(self._filters)

    def end(self) -> None:
        """Close what is still open. For a chain that its listener has no more."""
        self.close()
        self.terminal.abort()
        self.terminal.close()

    def _use(self, tls: DownstreamTlsConfig) -> None:
        spoken = tuple(one for one in tls.common.alpn if one not in self.terminal.unspoken)
        stapler = Stapler(tls, self._stats.ssl)
        context = server_context(
            tls, spoken, (lambda one: openssl.staple_with(one, stapler)) if openssl.usable() else None
        )
        made = {"ssl": context, "ssl_handshake_timeout": self.config.handshake_seconds}
        self._arrivals, self.tls = TlsArrivals(tls), made

    def _take(self, made: Tls) -> None:
        """Connections that are open go on as they are."""
        assert isinstance(made, DownstreamTlsConfig)
        self._use(made)

    @property
    def connections(self) -> int:
        count: int = self.terminal.connections
        return count

    def open_connection(self, incoming: Incoming | None = None) -> Any:
        """The protocol of one new connection, with what listener filters have found."""
        listener = self._listener
        connection = self.terminal.open_connection()
        connection.limit_buffers(listener.buffer_limit)
        info = connection.info
        info.listener_name = listener.name
        info.listener_metadata = listener.metadata
        info.outbound = listener.traffic_direction == "OUTBOUND"
        info.filter_chain_name = self.config.name
        info.filter_chain_metadata = self.config.metadata
        if incoming is not None:
            info.requested_server_name = for_logs(incoming.server_name)
            info.dynamic_metadata = incoming.metadata or None
            info.proxy_tlvs = incoming.tlvs
            if incoming.upstream_source is not None:
                info.come_from(*incoming.upstream_source)
            if incoming.restored:
                info.original_destination = incoming.destination
            info.inside = incoming.inside
            for one in incoming.state:
                if apply_state(info, one.key, one.kind, one.value) and one.onward:
                    share_state(info, one)
            if incoming.restored or incoming.source != incoming.direct_source:
                info.told = (incoming.destination, incoming.source)
            incoming.connection = connection
        left = incoming.left if incoming is not None and incoming.leaving else None
        if self._arrivals is not None or self._filters or left is not None:
            connection.admit = partial(self._admit, connection, left)
        return connection

    def _admit(self, connection: Any, left: Callable[[], None] | None, tls: Any) -> bool:
        """Whether the peer is wanted, and every network filter before the last lets the connection in. `left` is called
        when the connection is gone, in any case."""
        info = connection.info
        inside: list[Callable[[], None]] = [] if left is None else [left]
        if self._arrivals is not None and not self._arrivals.check(info, tls, self._stats.ssl):
            _call_all(inside)
            return False
        if self._filters:
            info.take_addresses(connection.local(), connection.peer())
        for one in self._filters:
            leave = one.admit(info)
            if leave is None:
                _call_all(inside)
                return False
            if leave is not STAYS:
                inside.append(leave)
        if inside:
            connection.on_gone = partial(_call_all, inside)
        return True

    def __repr__(self) -> str:
        return f"<FilterChain {self.config.name!r}, {self.connections} connections>"


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        callback()


def for_logs(name: str) -> str:
    """As Envoy writes a name that is none. A listener without an inspector knows no name at all, as there."""
    tame = _ODD.sub("_", name)
    return tame if tame == name else f"invalid:{tame}"
