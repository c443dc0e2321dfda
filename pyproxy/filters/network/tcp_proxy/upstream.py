"""The upstream half of a TCP session: one connection to one host, counted as Envoy counts it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pyproxy import clock
from pyproxy.clusters.cluster import Cluster
from pyproxy.clusters.dial import dial
from pyproxy.clusters.host import Host
from pyproxy.clusters.transport_socket_options import NO_OPTIONS, options_of_connection
from pyproxy.filters.network.tcp_proxy.tunnel import BadTunnel, Tunnel
from pyproxy.network.connection import Connection
from pyproxy.network.splice import BULK

if TYPE_CHECKING:
    from pyproxy.filters.network.tcp_proxy.session import TcpSession


class TcpUpstream(Connection):
    """Lives from a breaker slot that was had until the connection is gone, or until it is clear that none will come."""

    __slots__ = ("_answer", "_cluster", "_counted", "_created", "_host", "_session", "_tunnel", "_used", "half_closed")

    def __init__(self, session: TcpSession, cluster: Cluster, host: Host, tunnel: Tunnel | None = None) -> None:
        super().__init__(session.proxy.runtime.cork)
        self.limit_buffers(cluster.config.buffer_limit)
        self._session = session
        self._cluster = cluster
        self._host = host
        self._created = clock.now
        self._counted = False
        self._used = False
        """The session has it."""
        self._tunnel = tunnel
        self._answer: asyncio.Future[None] | None = None
        self.half_closed = False
        """The upstream will send no more."""
        cluster.stats.upstream_cx_total.value += 1
        cluster.stats.upstream_rq_pending_total.value += 1
        if tunnel is not None:
            cluster.stats.upstream_cx_http1_total.value += 1
        host.cx_total += 1

    async def dial(self) -> None:
        """Connect. Raises OSError and PeerRefused."""
        info = self._session.info
        more = info.wants_more or self._cluster.tells
        transport = options_of_connection(info, tells=self._cluster.tells) if more else NO_OPTIONS
        await dial(self._session.proxy.runtime.loop, self._cluster, self._host, self, transport)

    async def answered(self) -> None:
        """Once connected, until the tunnel is there. Raises BadTunnel."""
        assert self._answer is not None
        await self._answer

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
        stats.upstream_cx_length_ms.record(int((clock.now - self._created) * 1000))
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
        tunnel = self._tunnel
        if tunnel is None:
            self._use()
        else:
            self._answer = self._session.proxy.runtime.loop.create_future()
            self._write_framed(tunnel.opening)

    def _use(self) -> None:
        self._used = True
        self._session.connected(self)

    def on_bytes(self, data: bytes) -> None:
        self._cluster.stats.upstream_cx_rx_bytes_total.value += len(data)
        if self._tunnel is None:
            self._session.from_upstream(data, len(data))
        else:
            self._on_framed(data, self._tunnel)

    def _on_framed(self, data: bytes, tunnel: Tunnel) -> None:
        """Of a tunnel, or before there is one."""
        size = len(data)
        try:
            if not self._used:
                self._session.count_upstream(size)
                size = 0
                status = tunnel.answer(data)
                if not status:
                    return
                if status < 200 or status >= 300:
                    raise BadTunnel(f"tunnel_response:{status}")
                data = b""
                self._use()
                self._settle(None)
            inside, ended = tunnel.unwrap(data)
        except BadTunnel as error:
            self.abort()
            self._settle(error)
            return
        if inside or size:
            self._session.from_upstream(inside, size)
        if ended and not self.closed:
            self.half_closed = True
            if not self._session.upstream_said_all():
                self.close()

    def _settle(self, error: BadTunnel | None) -> None:
        answer = self._answer
        if answer is None or answer.done():
            return
        if error is None:
            answer.set_result(None)
        else:
            answer.set_exception(error)

    def send(self, data: bytes) -> int:
        """Gives the number of bytes that this takes on the wire."""
        if self._tunnel is not None:
            data = self._tunnel.wrap(data)
        self._cluster.stats.upstream_cx_tx_bytes_total.value += len(data)
        self.write(data)
        return len(data)

    @property
    def bulk_limit(self) -> int:
        """Bytes that may wait between the two connections of a session that moves much."""
        limit = self._cluster.config.buffer_limit
        return limit if 0 < limit < BULK else BULK

    def count_up(self, size: int) -> None:
        """So many bytes went up without passing here."""
        self._cluster.stats.upstream_cx_tx_bytes_total.value += size
        self._session.count_up(size)

    def count_down(self, size: int) -> None:
        """So many bytes came down without passing here."""
        self._cluster.stats.upstream_cx_rx_bytes_total.value += size
        self._session.count_down(size)

    def _write_framed(self, data: bytes) -> None:
        self._cluster.stats.upstream_cx_tx_bytes_total.value += len(data)
        self._session.count_sent_upstream(len(data))
        self.write(data)

    def finish(self) -> None:
        """The downstream will send no more. Of a tunnel that is the end (Envoy)."""
        tunnel = self._tunnel
        if tunnel is None:
            self.shutdown_write()
            return
        last = tunnel.end()
        if last:
            self._write_framed(last)
        self.close()

    def on_eof(self) -> bool:
        if not self._used:
            return False
        self.half_closed = True
        return self._session.upstream_said_all()

    def on_writable(self, writable: bool) -> None:
        if self._used:
            self._session.upstream_writable(writable)

    def on_closed(self, error: Exception | None) -> None:
        if not self._counted:
            return
        self._counted = False
        stats = self._cluster.stats
        stats.upstream_cx_active.value -= 1
        stats.upstream_cx_destroy.value += 1
        stats.upstream_cx_length_ms.record(int((clock.now - self._created) * 1000))
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
        if self._used:
            self._session.upstream_closed(error)
        self._settle(BadTunnel("the upstream closed the connection"))
