"""One live filter chain: what its network filters make of a connection."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pyproxy.config.listener import FilterChainConfig, ListenerConfig
from pyproxy.config.tls import DownstreamTlsConfig, TlsSource
from pyproxy.config.tls_reload import reload_tls
from pyproxy.filters.common.network_filter import STAYS, NetworkFilter
from pyproxy.network.incoming import Incoming
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
        self._filters: list[NetworkFilter] = [one.config.build(runtime) for one in others]
        self.terminal: Any = last.config.build(runtime)
        self.terminal.count_for(stats)
        self.tls: dict[str, Any] = {}
        """What the loop is told of TLS when it opens a connection; nothing for plain text."""
        self._arrivals: TlsArrivals | None = None
        self._forget: Callable[[], None] | None = None
        if config.tls is not None:
            self._use(config.tls)
            source = config.tls.source
            if source is not None:
                self._forget = runtime.secrets.watch(source.files, partial(self._reload, source))

    def close(self) -> None:
        """No more connections: its files need not be watched."""
        if self._forget is not None:
            self._forget()

    def _use(self, tls: DownstreamTlsConfig) -> None:
        spoken = tuple(one for one in tls.common.alpn if one not in self.terminal.unspoken)
        made = {"ssl": server_context(tls, spoken), "ssl_handshake_timeout": self.config.handshake_seconds}
        self._arrivals, self.tls = TlsArrivals(tls), made

    def _reload(self, source: TlsSource) -> None:
        """Connections that are open go on as they are. Raises InvalidConfig."""
        made = reload_tls(source)
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
        info.filter_chain_name = self.config.name
        info.filter_chain_metadata = self.config.metadata
        if incoming is not None:
            info.requested_server_name = _for_logs(incoming.server_name)
            info.dynamic_metadata = incoming.metadata or None
            if incoming.restored:
                info.original_destination = incoming.destination
            if incoming.restored or incoming.source != incoming.direct_source:
                info.told = (incoming.destination, incoming.source)
        if self._arrivals is not None or self._filters:
            connection.admit = partial(self._admit, connection)
        return connection

    def _admit(self, connection: Any, tls: Any) -> bool:
        """Whether the peer is wanted, and every network filter before the last lets the connection in."""
        info = connection.info
        if self._arrivals is not None and not self._arrivals.check(info, tls, self._stats.ssl):
            return False
        if self._filters:
            info.take_addresses(connection.local(), connection.peer())
        inside: list[Callable[[], None]] = []
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


def _for_logs(name: str) -> str:
    """As Envoy writes a name that is none. A listener without an inspector knows no name at all, as there."""
    tame = _ODD.sub("_", name)
    return tame if tame == name else f"invalid:{tame}"
