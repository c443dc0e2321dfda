"""The TCP proxy: each downstream connection becomes one upstream connection, and bytes go both ways.

A network filter, and the last of its chain. Envoy: envoy.filters.network.tcp_proxy. Security posture: trusts neither
side; looks at no byte.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Any, Final

from pyproxy import clock
from pyproxy.clusters.cluster import Cluster
from pyproxy.config.headers import HeaderChanges
from pyproxy.filters.network.tcp_proxy.config import TcpProxyConfig, TunnelConfig
from pyproxy.filters.network.tcp_proxy.session import TcpSession
from pyproxy.filters.network.tcp_proxy.tunnel import TunnelMaker
from pyproxy.http.message import Request
from pyproxy.routes.header_changes import build_request_change
from pyproxy.runtime import Runtime
from pyproxy.tasks import Deadlines
from pyproxy.telemetry.formatter import build_bytes_formatter
from pyproxy.telemetry.listener_stats import ListenerStats
from pyproxy.telemetry.tcp_stats import TcpOnDemandStats, TcpProxyStats


class TcpProxy:
    """Serves the connections of one filter chain. `open_connection` is the protocol factory of its listener."""

    unspoken: Final[tuple[str, ...]] = ()
    """The protocols are spoken by those on both sides."""

    def __init__(self, config: TcpProxyConfig, runtime: Runtime) -> None:
        self.config = config
        self.runtime = runtime
        self.stats = TcpProxyStats(runtime.stats, config.stat_prefix)
        self.on_demand_stats = None if config.on_demand is None else TcpOnDemandStats(runtime.stats, config.stat_prefix)
        self.idle = Deadlines(runtime.loop, config.idle_timeout) if config.idle_timeout else None
        duration = config.max_connection_duration
        self.max_duration = Deadlines(runtime.loop, duration) if duration else None
        self.access_logs = [runtime.access_logs.open(log, runtime.values) for log in config.access_logs]
        self.log_interval = Deadlines(runtime.loop, config.log_interval) if config.log_interval else None
        self.tunnels = None if config.tunnel is None else _tunnel_maker(config.tunnel)
        self.observers: list[Any] = []
        """Of filters before this one: called where lines are logged."""
        self._listener_stats: ListenerStats | None = None
        self._edges = list(accumulate(weight for _, weight in config.clusters))
        self._sessions: set[TcpSession] = set()

    # What a listener asks of the last filter of its chain

    def count_for(self, listener: ListenerStats) -> None:
        """Count the connections for the listener too."""
        self._listener_stats = listener

    def open_connection(self) -> TcpSession:
        return TcpSession(self)

    @property
    def connections(self) -> int:
        return len(self._sessions)

    def ask_to_leave(self) -> None:
        """Bytes carry no such message: who is connected stays until the time to drain is over (Envoy)."""

    def drain(self) -> None:
        """Nothing to end early: where one message ends is not known here."""

    def abort(self) -> None:
        """Close all connections now."""
        for session in list(self._sessions):
            session.abort()

    def close(self) -> None:
        """No connection is open any more, and none will come."""
        for log in self.access_logs:
            log.close()
        self.stats.close()

    def resume(self) -> None:
        """Nothing was asked."""

    # What a session asks

    def on_open(self, session: TcpSession) -> None:
        self._sessions.add(session)
        session.info.opened = clock.now
        if self._listener_stats is not None:
            self._listener_stats.downstream_cx_active.value += 1
        self.stats.downstream_cx_total.value += 1
        if self.idle is not None:
            self.idle.arm(session)
        if self.max_duration is not None:
            self.max_duration.arm(session)
        if self.log_interval is not None:
            self.log_interval.arm(session)

    def on_closed(self, session: TcpSession) -> None:
        self._sessions.discard(session)
        if self._listener_stats is not None:
            self._listener_stats.downstream_cx_active.value -= 1
            self._listener_stats.downstream_cx_destroy.value += 1
            self._listener_stats.downstream_cx_length_ms.record(int((clock.now - session.info.opened) * 1000))
        if self.idle is not None:
            self.idle.disarm(session)
        if self.max_duration is not None:
            self.max_duration.disarm(session)
        if self.log_interval is not None:
            self.log_interval.disarm(session)

    async def find_cluster(self, session: Request) -> Cluster | None:
        """None where there is none, even after it was asked for on demand."""
        name = self._choose_cluster(session)
        clusters, on_demand, stats = self.runtime.clusters, self.config.on_demand, self.on_demand_stats
        cluster = clusters.get(name)
        if cluster is not None or on_demand is None or stats is None:
            return cluster
        stats.on_demand_cluster_attempt.value += 1
        began = self.runtime.loop.time()
        if await self.runtime.demand("cluster", on_demand.spec, name, on_demand.timeout):
            stats.on_demand_cluster_success.value += 1
        elif self.runtime.loop.time() - began < on_demand.timeout:
            stats.on_demand_cluster_missing.value += 1
        else:
            stats.on_demand_cluster_timeout.value += 1
        return clusters.get(name)

    def _choose_cluster(self, session: Request) -> str:
        """What a filter before chose, or one of the clusters by weight."""
        info = session.info.connection
        if info.tcp_cluster:
            return info.tcp_cluster
        at = 0
        if len(self._edges) > 1:
            at = bisect_right(self._edges, clock.rng.randrange(self._edges[-1]))
        if self.config.subsets:
            session.info.subset = self.config.subsets[at]
        return self.config.clusters[at][0]

    def __repr__(self) -> str:
        return f"<TcpProxy {self.config.stat_prefix}, {len(self._sessions)} connections>"


def _tunnel_maker(config: TunnelConfig) -> TunnelMaker:
    change = build_request_change(HeaderChanges(request_add=config.headers))
    return TunnelMaker(config, build_bytes_formatter(config.hostname), change)
