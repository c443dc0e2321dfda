"""The upstream half of a TCP session: one connection to one host, counted as Envoy counts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyproxy import clock
from pyproxy.clusters.cluster import Cluster
from pyproxy.clusters.dial import dial
from pyproxy.clusters.host import Host
from pyproxy.clusters.transport_socket_options import NO_OPTIONS, TransportSocketOptions, told_of
from pyproxy.network.connection import Connection

if TYPE_CHECKING:
    from pyproxy.filters.network.tcp_proxy.session import TcpSession


class TcpUpstream(Connection):
    """Lives from a breaker slot that was had until the connection is gone, or until it is clear that none will come."""

    __slots__ = ("_cluster", "_counted", "_created", "_host", "_session", "half_closed")

    def __init__(self, session: TcpSession, cluster: Cluster, host: Host) -> None:
        super().__init__(session.proxy.runtime.cork)
        self.limit_buffers(cluster.config.buffer_limit)
        self._session = session
        self._cluster = cluster
        self._host = host
        self._created = clock.now
        self._counted = False
        self.half_closed = False
        """The upstream will send no more."""
        cluster.stats.upstream_cx_total.value += 1
        cluster.stats.upstream_rq_pending_total.value += 1
        host.cx_total += 1

    async def dial(self) -> None:
        """Connect. Raises OSError and PeerRefused."""
        info = self._session.info
        transport = TransportSocketOptions(told=told_of(info)) if self._cluster.tells else NO_OPTIONS
        await dial(self._session.proxy.runtime.loop, self._cluster, self._host, self, transport)

    def not_connected(self, *, timeout: bool) -> None:
        """The host could not be reached, or not in time, or is not wanted any more. Gives back the breaker slot."""
        stats = self._cluster.stats
        stats.upstream_cx_connect_fail.value += 1
        if timeout:
            stats.upstream_cx_connect_timeout.value += 1
            stats.upstream_cx_destroy_local.value += 1
        else:
            stats.upstream_cx_destroy_remote.value += 1
        stats.upstream_cx_destroy.value += 1
        stats.upstream_rq_pending_failure_eject.value += 1
        self._host.cx_connect_fail += 1
        self._cluster.limits[0].release_connection()
        self.abort()

    def on_open(self) -> None:
        stats = self._cluster.stats
        stats.upstream_cx_active.value += 1
        stats.upstream_cx_connect_ms.record(int((clock.now - self._created) * 1000))
        stats.upstream_rq_total.value += 1
        self._host.cx_active += 1
        self._host.rq_active += 1
        self._host.rq_total += 1
        self._counted = True
        self._session.connected(self)

    def on_bytes(self, data: bytes) -> None:
        self._cluster.stats.upstream_cx_rx_bytes_total.value += len(data)
        self._session.from_upstream(data)

    def send(self, data: bytes) -> None:
        self._cluster.stats.upstream_cx_tx_bytes_total.value += len(data)
        self.write(data)

    def on_eof(self) -> bool:
        self.half_closed = True
        return self._session.upstream_said_all()

    def on_writable(self, writable: bool) -> None:
        self._session.upstream_writable(writable)

    def on_closed(self, error: Exception | None) -> None:
        if not self._counted:
            return
        self._counted = False
        stats = self._cluster.stats
        stats.upstream_cx_active.value -= 1
        stats.upstream_cx_destroy.value += 1
        stats.upstream_cx_destroy_with_active_rq.value += 1
        if self.half_closed or error is not None:
            stats.upstream_cx_destroy_remote.value += 1
            stats.upstream_cx_destroy_remote_with_active_rq.value += 1
        else:
            stats.upstream_cx_destroy_local.value += 1
            stats.upstream_cx_destroy_local_with_active_rq.value += 1
        self._host.cx_active -= 1
        self._host.rq_active -= 1
        self._cluster.limits[0].release_connection()
        self._session.upstream_closed(error)
