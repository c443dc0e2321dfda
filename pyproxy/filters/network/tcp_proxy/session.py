"""One TCP session: the downstream connection, and how it finds its upstream one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pyproxy import clock
from pyproxy.clusters.cluster import Cluster
from pyproxy.clusters.dial import reason
from pyproxy.clusters.discovery.dynamic import NotPrepared
from pyproxy.clusters.host import Host
from pyproxy.config.cluster import UpstreamProtocol
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.filters.network.tcp_proxy.bulk import Bulk, can_be_taken
from pyproxy.filters.network.tcp_proxy.stream_upstream import StreamUpstream
from pyproxy.filters.network.tcp_proxy.tunnel import BadTunnel
from pyproxy.filters.network.tcp_proxy.upstream import TcpUpstream
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo, UpstreamInfo
from pyproxy.network.connection import Connection
from pyproxy.network.splice import BULK, BULK_SECONDS
from pyproxy.network.transport_sockets.tls import PeerRefused
from pyproxy.routes.hash_policy import hash64
from pyproxy.tasks import Deadlines, spawn

if TYPE_CHECKING:
    from pyproxy.filters.network.tcp_proxy.tcp_proxy import TcpProxy
    from pyproxy.filters.network.tcp_proxy.tunnel import TunnelMaker

_NEVER: Final = 1 << 62
_BY_STREAM: Final = (UpstreamProtocol.HTTP2, UpstreamProtocol.AUTO)
"""Tunnels to these clusters share connections, if HTTP/2 is what is agreed on."""


class TcpSession(Connection):
    """The downstream connection. What it sends before the upstream is there waits: one read of it, no more.

    Logs and load balancers look at a request; a session is an empty one (`request`).
    """

    __slots__ = (
        "_bulk_down",
        "_bulk_up",
        "_connecting",
        "_down_mark",
        "_down_since",
        "_early",
        "_half_closed",
        "_last_active",
        "_over",
        "_up_mark",
        "_up_since",
        "_upstream",
        "info",
        "proxy",
        "request",
    )

    def __init__(self, proxy: TcpProxy) -> None:
        super().__init__(proxy.runtime.cork)
        self.proxy = proxy
        self.info = ConnectionInfo()
        self.request: Request | None = None
        self._upstream: TcpUpstream | StreamUpstream | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._early: list[bytes] = []
        self._half_closed = False
        self._last_active = 0.0
        self._over = False
        self._bulk_down: Bulk | None = None
        self._bulk_up: Bulk | None = None
        self._down_mark = self._up_mark = BULK if proxy.tunnels is None else _NEVER
        """Bytes after which to look whether a direction moves much, and is better left to the kernel."""
        self._down_since = self._up_since = 0.0
        """When the last mark was passed."""

    # The life of the downstream connection

    def on_open(self) -> None:
        info, proxy = self.info, self.proxy
        info.connection_id = proxy.runtime.next_connection_id()
        info.take_addresses(self.local(), self.peer())
        stream = StreamInfo(clock.now, clock.now + clock.wall_offset, info)
        stream.dynamic_metadata = info.dynamic_metadata
        stream.subset = proxy.config.subset
        if proxy.config.hash_source:
            stream.hash = hash64(info.remote[0].encode())
        elif proxy.config.hash_state and info.filter_state is not None:
            state = info.filter_state.get(proxy.config.hash_state)
            if state is not None:
                stream.hash = hash64(str(state).encode())
        self.request = Request(b"", b"", b"", Headers(), stream)
        self._last_active = clock.now
        proxy.on_open(self)
        self._connecting = spawn(self._connect(), "tcp-connect")

    def on_bytes(self, data: bytes) -> None:
        self._last_active = clock.now
        if self._upstream is not None:
            self._forward(data, self._upstream)
        else:
            self._early.append(data)
            self.pause_reading()

    def _forward(self, data: bytes, upstream: TcpUpstream | StreamUpstream) -> None:
        """What waited for an upstream counts as received only now: Envoy does not read it before."""
        assert self.request is not None
        info, size = self.request.info, len(data)
        info.bytes_received += size
        info.wire_received += size
        self.proxy.stats.downstream_cx_rx_bytes_total.value += size
        info.upstream.wire_sent += upstream.send(data)
        if info.bytes_received >= self._up_mark:
            fast = clock.now - self._up_since < BULK_SECONDS
            self._up_since, self._up_mark = clock.now, info.bytes_received + BULK
            assert isinstance(upstream, TcpUpstream)
            if fast and can_be_taken(self.proxy.runtime.splices, self, upstream):
                self._up_mark = _NEVER
                self._bulk_up = self._bulk(self, upstream, upstream.count_up, upstream.bulk_limit)

    def _bulk(self, source: Connection, target: Connection, count: Callable[[int], None], limit: int) -> Bulk:
        runtime = self.proxy.runtime
        return Bulk(runtime.loop, runtime.splices, source, target, limit, count)

    def count_up(self, size: int) -> None:
        """So many bytes went up without passing here."""
        self._last_active = clock.now
        assert self.request is not None
        info = self.request.info
        info.bytes_received += size
        info.wire_received += size
        info.upstream.wire_sent += size
        self.proxy.stats.downstream_cx_rx_bytes_total.value += size

    def count_down(self, size: int) -> None:
        """So many bytes came down without passing here."""
        self._last_active = clock.now
        assert self.request is not None
        info = self.request.info
        info.bytes_sent += size
        info.wire_sent += size
        info.upstream.wire_received += size
        self.proxy.stats.downstream_cx_tx_bytes_total.value += size

    def on_eof(self) -> bool:
        """RFC 9293 section 3.6: the other direction may go on."""
        self._half_closed = True
        upstream = self._upstream
        if upstream is None:
            return self._connecting is not None
        upstream.finish()
        if upstream.half_closed:
            upstream.close()
            return False
        return True

    def on_writable(self, writable: bool) -> None:
        upstream, bulk = self._upstream, self._bulk_down
        if bulk is not None and not bulk.over:
            if writable:
                bulk.on_target_writable()
        elif upstream is not None:
            if writable:
                upstream.resume_reading()
            else:
                upstream.pause_reading()

    def on_closed(self, error: Exception | None) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        self._stop_bulk()
        if self._upstream is not None:
            self._upstream.close()
        self._finish()

    def on_deadline(self, deadlines: Deadlines) -> None:
        proxy = self.proxy
        if deadlines is proxy.log_interval:
            self._log("TcpPeriodic")
            deadlines.arm(self)
            return
        if deadlines is proxy.max_duration:
            proxy.stats.max_downstream_connection_duration.value += 1
            self._flag(ResponseFlag.DURATION_TIMEOUT)
            self.close()
            return
        left = self._last_active + deadlines.seconds - clock.now
        if left > 0.001:
            deadlines.arm_early(self, left)
            return
        proxy.stats.idle_timeout.value += 1
        self.close()

    # Towards the upstream

    async def _connect(self) -> None:
        """Try hosts until one takes the connection (Envoy: max_connect_attempts)."""
        assert self.request is not None
        cluster = await self.proxy.find_cluster(self.request)
        if cluster is None:
            self.proxy.stats.downstream_cx_no_route.value += 1
            self._give_up(ResponseFlag.NO_CLUSTER_FOUND)
            return
        if cluster.dynamic is not None and self.info.dynamic_host[0] and self.request is not None:
            try:
                await cluster.dynamic.prepare(self.request)
            except NotPrepared:
                self._connecting = None
                self._give_up(ResponseFlag.DNS_RESOLUTION_FAILURE)
                return
        for _ in range(self.proxy.config.max_connect_attempts):
            flag = await self._try(cluster)
            if flag is not ResponseFlag.UPSTREAM_CONNECTION_FAILURE:
                break
        else:
            cluster.stats.upstream_cx_connect_attempts_exceeded.value += 1
            self._flag(ResponseFlag.UPSTREAM_CONNECTION_FAILURE)
            flag = ResponseFlag.UPSTREAM_RETRY_LIMIT_EXCEEDED
        self._connecting = None
        if flag is not None:
            self._give_up(flag)

    async def _try(self, cluster: Cluster) -> ResponseFlag | None:
        """One connection attempt: None where it came about, else what was wrong."""
        assert self.request is not None
        info = self.request.info
        info.upstream = told = UpstreamInfo()
        cluster.tell(told)
        if self.proxy.tunnels is not None and cluster.config.http.protocol in _BY_STREAM:
            return await self._try_stream(cluster, self.proxy.tunnels)
        host: Host | None = None
        home = cluster
        if cluster.aggregate is not None:
            host = cluster.choose(self.request)
            home = cluster if host is None else host.home
        limits = home.limits[0]
        if not limits.try_acquire_connection():
            home.stats.upstream_cx_overflow.value += 1
            return ResponseFlag.UPSTREAM_OVERFLOW
        host = host or home.choose(self.request)
        if host is None:
            limits.release_connection()
            cluster.stats.upstream_cx_none_healthy.value += 1
            return ResponseFlag.NO_HEALTHY_UPSTREAM
        info.attempts += 1
        told.host_address, told.host_name, told.host_metadata = host.address, host.hostname, host.metadata
        try:
            tunnel = None if self.proxy.tunnels is None else self.proxy.tunnels.make(self.request)
        except BadTunnel as error:
            limits.release_connection()
            told.transport_failure_reason = reason_of_tunnel(error)
            return ResponseFlag.UPSTREAM_CONNECTION_FAILURE
        upstream = TcpUpstream(self, home, host, tunnel)
        timer = self.proxy.runtime.loop.call_later(home.config.connect_timeout, _cancel, asyncio.current_task())
        try:
            await upstream.dial()
        except asyncio.CancelledError:
            upstream.not_connected(timeout=not self.closed)
            if self.closed:
                raise
            told.transport_failure_reason = "connection_timeout"
            _failed(host)
            return ResponseFlag.UPSTREAM_CONNECTION_FAILURE
        except (OSError, PeerRefused) as error:
            clock.tick()
            upstream.not_connected(timeout=False)
            told.transport_failure_reason = reason(error)
            _failed(host)
            return ResponseFlag.UPSTREAM_CONNECTION_FAILURE
        finally:
            timer.cancel()
        if host.outlier is not None:
            host.outlier.put_connected()
        return None if tunnel is None else await self._tunnel(upstream, told)

    async def _try_stream(self, cluster: Cluster, tunnels: TunnelMaker) -> ResponseFlag | None:
        """As `_try`, where the tunnel is one stream among others of a connection."""
        assert self.request is not None
        info = self.request.info
        host = cluster.choose(self.request)
        if host is None:
            cluster.stats.upstream_cx_none_healthy.value += 1
            return ResponseFlag.NO_HEALTHY_UPSTREAM
        info.attempts += 1
        info.upstream.host_address, info.upstream.host_name = host.address, host.hostname
        try:
            await StreamUpstream(self, host.home, host, tunnels.opening(self.request)).connect()
        except BadTunnel as error:
            clock.tick()
            info.upstream.transport_failure_reason = reason_of_tunnel(error)
            return ResponseFlag.UPSTREAM_CONNECTION_FAILURE
        except ProxyError as error:
            clock.tick()
            if error.flag in (None, ResponseFlag.UPSTREAM_OVERFLOW):
                return ResponseFlag.UPSTREAM_OVERFLOW
            _failed(host)
            return ResponseFlag.UPSTREAM_CONNECTION_FAILURE
        if host.outlier is not None:
            host.outlier.put_connected()
        return None

    async def _tunnel(self, upstream: TcpUpstream, told: UpstreamInfo) -> ResponseFlag | None:
        """Wait for the tunnel: None where it came about. Only the timeouts of the session bound it, as in Envoy."""
        try:
            await upstream.answered()
        except asyncio.CancelledError:
            upstream.abort()
            raise
        except BadTunnel as error:
            clock.tick()
            told.transport_failure_reason = reason_of_tunnel(error)
            return ResponseFlag.UPSTREAM_CONNECTION_FAILURE
        return None

    def connected(self, upstream: TcpUpstream | StreamUpstream) -> None:
        """The upstream is there: let the bytes come."""
        if self.closed:
            upstream.abort()
            return
        self._upstream = upstream
        assert self.request is not None
        told = self.request.info.upstream
        told.local = upstream.local()
        told.pool_ready = clock.now
        self._last_active = clock.now
        if self.proxy.config.log_on_connected:
            self._log("TcpUpstreamConnected")
        early, self._early = self._early, []
        for data in early:
            self._forward(data, upstream)
        if self._half_closed:
            upstream.finish()
        else:
            self.resume_reading()

    def count_upstream(self, size: int) -> None:
        """Bytes that an upstream has said before it was ours."""
        assert self.request is not None
        self.request.info.upstream.wire_received += size

    def count_sent_upstream(self, size: int) -> None:
        """Bytes that were sent there and are not the downstream's."""
        assert self.request is not None
        self.request.info.upstream.wire_sent += size

    def from_upstream(self, data: bytes, size: int) -> None:
        """What it said, in so many bytes."""
        self._last_active = clock.now
        assert self.request is not None
        info = self.request.info
        info.bytes_sent += len(data)
        info.wire_sent += len(data)
        info.upstream.wire_received += size
        self.proxy.stats.downstream_cx_tx_bytes_total.value += len(data)
        self.write(data)
        if info.bytes_sent >= self._down_mark:
            fast = clock.now - self._down_since < BULK_SECONDS
            self._down_since, self._down_mark = clock.now, info.bytes_sent + BULK
            upstream = self._upstream
            if fast and isinstance(upstream, TcpUpstream) and can_be_taken(self.proxy.runtime.splices, upstream, self):
                self._down_mark = _NEVER
                self._bulk_down = self._bulk(upstream, self, upstream.count_down, upstream.bulk_limit)

    def upstream_said_all(self) -> bool:
        """The upstream will send no more. Whether its connection stays open for what is still to go there."""
        if self._half_closed:
            self.close()
            return False
        self.shutdown_write()
        return True

    def upstream_writable(self, writable: bool) -> None:
        stats, bulk = self.proxy.stats, self._bulk_up
        if bulk is not None and not bulk.over:
            if writable:
                bulk.on_target_writable()
            return
        if writable:
            stats.downstream_flow_control_resumed_reading_total.value += 1
            self.resume_reading()
        else:
            stats.downstream_flow_control_paused_reading_total.value += 1
            self.pause_reading()

    def upstream_closed(self, error: Exception | None) -> None:
        self._upstream = None
        self._stop_bulk()
        if error is not None:
            self._flag(ResponseFlag.UPSTREAM_REMOTE_RESET)
        self.close()

    # The end

    def _stop_bulk(self) -> None:
        if self._bulk_down is not None:
            self._bulk_down.stop()
        if self._bulk_up is not None:
            self._bulk_up.stop()

    def _give_up(self, flag: ResponseFlag) -> None:
        self._flag(flag)
        self.close()

    def _flag(self, flag: ResponseFlag) -> None:
        if self.request is not None:
            self.request.info.add_flag(flag)

    def _finish(self) -> None:
        """Everything that happens once when a session is over."""
        if self._over:
            return
        self._over = True
        self.proxy.on_closed(self)
        self._log("TcpConnectionEnd")

    def _log(self, kind: str) -> None:
        request = self.request
        if request is not None:
            request.info.end = clock.now
            request.info.log_type = kind
            for log in self.proxy.access_logs:
                log.log(request, None)
            for observe in self.proxy.observers:
                observe(request, None)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "connected" if self._upstream else "connecting"
        return f"<TcpSession {self.info.connection_id} {state}>"


def reason_of_tunnel(error: BadTunnel) -> str:
    return str(error).replace(" ", "_")


def _cancel(task: asyncio.Task[None] | None) -> None:
    clock.tick()
    if task is not None:
        task.cancel()


def _failed(host: Host) -> None:
    """For outlier detection, where there is one."""
    if host.outlier is not None:
        host.outlier.put_error(ProxyError(ResponseFlag.UPSTREAM_CONNECTION_FAILURE, Source.UPSTREAM, 503, ""))
