"""The connections to one host that are open, opening or idle, and the tries that wait for one.

HTTP/1: a connection is lent to one try at a time. The newest idle one is lent first, so that the others may age
out. HTTP/2: a connection carries as many tries as the upstream takes. What to do is decided synchronously; only
opening a connection takes time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from pyproxy import clock
from pyproxy.clusters.dial import LocalFailure, dial, reason
from pyproxy.clusters.h2_upstream import H2Upstream
from pyproxy.clusters.one_try import Try
from pyproxy.clusters.pool_errors import connect_failure, overflow
from pyproxy.clusters.transport_socket_options import NO_OPTIONS, TransportSocketOptions
from pyproxy.clusters.upstream import H1Upstream
from pyproxy.config.cluster import UpstreamProtocol
from pyproxy.http.codec import CodecLimits, CodecOptions
from pyproxy.http.engines import new_response_decoder, new_session
from pyproxy.http.h2_guard import FrameGuard
from pyproxy.http.h2_session import SessionOptions
from pyproxy.network.cork import Cork
from pyproxy.tasks import Deadlines, spawn

if TYPE_CHECKING:
    from pyproxy.clusters.circuit_breakers import ResourceLimits
    from pyproxy.clusters.cluster import Cluster
    from pyproxy.clusters.host import Host

_MANY_OPTIONS: Final = 64
"""They are the choice of downstreams: from here on, those that nobody uses are forgotten."""
_STREAMS_EACH: Final = 100
"""As many tries are taken for one connection that is being opened; how many it takes is known once it is open."""
_PRECONNECTED = 3
"""Connections that one request may have opened before they are needed (Envoy)."""

_next_id = iter(range(1, 1 << 62))


class ConnectionPool:
    """All connections of one worker to one host, for one priority."""

    __slots__ = (
        "_codec",
        "_cork",
        "_draining",
        "_idle",
        "_idle_deadlines",
        "_loop",
        "_most_options",
        "_multiplexed",
        "_open",
        "_opening",
        "_pending",
        "_protocol",
        "_ratio",
        "_session_options",
        "_speaks_h2",
        "_streams_each",
        "_worn_out",
        "by_options",
        "cluster",
        "high",
        "host",
        "limits",
        "longest_try",
        "of_http1",
        "of_tunnels",
        "options",
        "rq_total",
        "transport",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        cork: Cork,
        cluster: Cluster,
        host: Host,
        limits: ResourceLimits,
        idle: Deadlines | None,
        transport: TransportSocketOptions = NO_OPTIONS,
    ) -> None:
        self._loop = loop
        self._cork = cork
        self.cluster = cluster
        self.limits = limits
        self._idle: list[H1Upstream] = []
        self._multiplexed: list[H2Upstream] = []
        self._open: set[H1Upstream | H2Upstream] = set()
        self._opening: dict[H1Upstream | H2Upstream, tuple[asyncio.Task[Any], asyncio.TimerHandle]] = {}
        self._pending: deque[Try] = deque()
        self._idle_deadlines = idle
        self._draining = False
        self.host = host
        self.high: ConnectionPool | None = None
        """The connections for requests of high priority, which have limits of their own."""
        self.transport = transport
        self._most_options = _MANY_OPTIONS
        self.by_options: dict[TransportSocketOptions, ConnectionPool] = {}
        """The connections for requests that want something else of them."""
        self.of_http1: ConnectionPool | None = None
        """The connections for requests that came by HTTP/1, where each goes on as it came."""
        self.of_tunnels: ConnectionPool | None = None
        """Connections that carry no HTTP: no other try may get one."""
        self.options = options = cluster.config.http
        self._protocol = options.protocol
        self._speaks_h2 = options.protocol is not UpstreamProtocol.HTTP1
        self._streams_each = min(options.http2.max_concurrent_streams, _STREAMS_EACH) if self._speaks_h2 else 1
        self._session_options = SessionOptions(
            header_table=options.http2.header_table,
            max_concurrent_streams=options.http2.max_concurrent_streams,
            stream_window=options.http2.stream_window,
            connection_window=options.http2.connection_window,
            headers_kb=options.max_response_headers_kb,
            header_count=options.max_response_headers,
        )
        longest = options.max_stream_duration
        self.longest_try: Deadlines | None = cluster.deadlines.of(longest) if longest else None
        self.rq_total = cluster.stats.upstream_rq_total
        limited = options.max_requests_per_connection or options.max_connection_duration
        self._ratio = cluster.config.preconnect_ratio
        self._worn_out = self._is_worn_out if limited else None
        self._codec = CodecOptions(
            keep_trailers=options.enable_trailers,
            limits=CodecLimits(headers_kb=options.max_response_headers_kb, header_count=options.max_response_headers),
        )

    def submit(self, attempt: Try) -> None:
        """Run a try as soon as there is a connection for it. Raises ProxyError where a breaker is open."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                connection.start(attempt)
                if self._ratio > 1.0:
                    self._preconnect()
                return
        if attempt.request.ends_here:
            attempt.pool = pool = self._pool_of_tunnels()
            pool.take(attempt)
            return
        if self._speaks_h2:
            if self._protocol is UpstreamProtocol.DOWNSTREAM and attempt.request.info.protocol != "HTTP/2":
                attempt.pool = pool = self._pool_of_http1()
                pool.submit(attempt)
                return
            for one in self._multiplexed:
                if one.has_room:
                    self._start(one, attempt)
                    if self._ratio > 1.0:
                        self._preconnect()
                    return
        self.take(attempt)

    def take(self, attempt: Try) -> None:
        """Run a try on a connection that there is not yet. Raises ProxyError where a breaker is open."""
        limits = self.limits
        if not limits.try_acquire_pending():
            self.cluster.stats.upstream_rq_pending_overflow.value += 1
            raise overflow()
        self._pending.append(attempt)
        self.host.rq_pending_active += 1
        self.cluster.stats.upstream_rq_pending_total.value += 1
        self._connect_if_allowed()
        if self._ratio > 1.0:
            self._preconnect()

    def _preconnect(self) -> None:
        """Open connections for requests that will come (Envoy: per_upstream_preconnect_ratio), a few at a time."""
        busy = sum([len(one.streams) for one in self._multiplexed])
        room = sum([self._streams_each - len(one.streams) for one in self._multiplexed]) + len(self._idle)
        busy += len(self._open) - len(self._multiplexed) - len(self._idle)
        wanted = (len(self._pending) + busy) * self._ratio - busy
        for _ in range(_PRECONNECTED):
            if wanted <= room + len(self._opening) * self._streams_each or not self._may_connect():
                return
            self._connect()

    def of(self, transport: TransportSocketOptions) -> ConnectionPool:
        """The connections for requests that want this of them."""
        if transport == self.transport:
            return self
        pool = self.by_options.get(transport)
        if pool is None:
            if len(self.by_options) >= self._most_options:
                self.by_options = {key: pool for key, pool in self.by_options.items() if pool.in_use}
                self._most_options = max(_MANY_OPTIONS, 2 * len(self.by_options))
            idle = self._idle_deadlines
            pool = ConnectionPool(self._loop, self._cork, self.cluster, self.host, self.limits, idle, transport)
            pool._draining = self._draining
            self.by_options[transport] = pool
        return pool

    @property
    def in_use(self) -> bool:
        """There are connections, or tries that wait for one."""
        return bool(self._open or self._opening or self._pending)

    def _connect_if_allowed(self) -> None:
        """Open a connection for a waiting try, within the limit; a pool may always have one (Envoy)."""
        if len(self._opening) * self._streams_each >= len(self._pending):
            return
        if not self._may_connect():
            if self._open or self._opening:
                return
            self.limits.connections += 1
        self._connect()

    def _may_connect(self) -> bool:
        """Whether the breakers let one more connection be opened; then it counts."""
        most = self.cluster.config.per_host_connections
        full = 0 < most <= self.host.cx_active + len(self._opening)
        if full or not self.limits.try_acquire_connection():
            self.cluster.stats.upstream_cx_overflow.value += 1
            return False
        return True

    def _connect(self) -> None:
        self.cluster.stats.upstream_cx_total.value += 1
        self.host.cx_total += 1
        connection: H1Upstream | H2Upstream = self._new_h2() if self._speaks_h2 else self._new_h1()
        if self._protocol is not UpstreamProtocol.AUTO:
            self._count_codec()
        task = spawn(self._dial(connection), f"connect {self.host.address}")
        timer = self._loop.call_later(self.cluster.config.connect_timeout, self._connect_timed_out, connection)
        self._opening[connection] = (task, timer)

    def _count_codec(self) -> None:
        stats = self.cluster.stats
        (stats.upstream_cx_http2_total if self._speaks_h2 else stats.upstream_cx_http1_total).value += 1

    def _new_h1(self) -> H1Upstream:
        return H1Upstream(self._cork, new_response_decoder(self._codec), self, next(_next_id))

    def _new_h2(self) -> H2Upstream:
        session = new_session(self._session_options, server=False)
        guard = FrameGuard(self.options.http2, self.options.max_response_headers_kb, server=False)
        return H2Upstream(self._cork, session, guard, self, next(_next_id))

    async def _dial(self, connection: H1Upstream | H2Upstream) -> None:
        try:
            await dial(self._loop, self.cluster, self.host, connection, self.transport)
        except Exception as error:  # noqa: BLE001 - whatever it was, those that wait must hear of it
            clock.tick()
            if self._connect_ended(connection):
                stats, local = self.cluster.stats, isinstance(error, LocalFailure)
                (stats.upstream_cx_destroy_local if local else stats.upstream_cx_destroy_remote).value += 1
                self._connect_failed(error)

    def _connect_timed_out(self, connection: H1Upstream | H2Upstream) -> None:
        clock.tick()
        task = self._opening[connection][0]
        if self._connect_ended(connection):
            task.cancel()
            stats = self.cluster.stats
            stats.upstream_cx_connect_timeout.value += 1
            stats.upstream_cx_destroy_local.value += 1
            self._connect_failed(None)

    def _connect_ended(self, connection: H1Upstream | H2Upstream) -> bool:
        """The attempt to connect has failed, or will not be waited for; False if that is known already."""
        opening = self._opening.pop(connection, None)
        if opening is None:
            return False
        opening[1].cancel()
        self.limits.release_connection()
        self.host.cx_connect_fail += 1
        stats = self.cluster.stats
        stats.upstream_cx_connect_fail.value += 1
        stats.upstream_cx_destroy.value += 1
        stats.upstream_cx_length_ms.record(int((clock.now - connection.created) * 1000))
        return True

    def connected(self, connection: H1Upstream | H2Upstream) -> None:
        """The connection is there; called by itself before anything can happen on it."""
        opening = self._opening.pop(connection, None)
        if opening is None:  # too late
            connection.abort()
            return
        opening[1].cancel()
        if self._protocol is UpstreamProtocol.AUTO:
            connection = self._as_agreed(connection)
            self._count_codec()
        stats = self.cluster.stats
        stats.upstream_cx_active.value += 1
        stats.upstream_cx_connect_ms.record(int((clock.now - connection.created) * 1000))
        self.host.cx_active += 1
        self._open.add(connection)
        if self._idle_deadlines is not None:
            self._idle_deadlines.arm(connection)
        if isinstance(connection, H2Upstream):
            connection.begin()
            self._multiplexed.append(connection)
            self.has_room(connection)
        else:
            self._lend(connection)

    def _as_agreed(self, connection: H1Upstream | H2Upstream) -> H1Upstream | H2Upstream:
        """Be sure that what is spoken on a new connection is what was agreed on by ALPN; the next begins with that."""
        tls = connection.transport.get_extra_info("ssl_object")
        self._speaks_h2 = tls is not None and tls.selected_alpn_protocol() == "h2"
        self._streams_each = min(self.options.http2.max_concurrent_streams, _STREAMS_EACH) if self._speaks_h2 else 1
        if isinstance(connection, H2Upstream) is self._speaks_h2:
            return connection
        made: H1Upstream | H2Upstream = self._new_h2() if self._speaks_h2 else self._new_h1()
        made.created = connection.created
        made.take_over(connection)
        connection.closed = True  # it is not its any more
        return made

    def _connect_failed(self, error: Exception | None) -> None:
        """All that wait share the failure: the host cannot be reached (Envoy fails every pending request). None is a
        timeout."""
        pending, self._pending = self._pending, deque()
        failure = connect_failure(error)
        for attempt in pending:
            self._leave_queue()
            self.cluster.stats.upstream_rq_pending_failure_eject.value += 1
            attempt.info.transport_failure_reason = reason(error)
            attempt.connection_failed(failure)

    def _lend(self, connection: H1Upstream) -> None:
        """Give a free connection to the try that waited longest, or keep it."""
        if connection.closed:
            return
        if self._pending:
            attempt = self._pending.popleft()
            self._leave_queue()
            connection.start(attempt)
        elif self._draining:
            connection.closed_by_us = True
            connection.close()
        else:
            connection.idle_since = clock.now
            self._idle.append(connection)

    def has_room(self, connection: H2Upstream) -> None:
        """A connection may take tries that wait. One that is not wanted any more leaves."""
        if connection.leaving:
            return
        while self._pending and connection.has_room and not connection.leaving:
            attempt = self._pending.popleft()
            self._leave_queue()
            self._start(connection, attempt)
        if self._pending:
            self._connect_if_allowed()
        elif self._draining:
            connection.leave()

    def _start(self, connection: H2Upstream, attempt: Try) -> None:
        connection.start(attempt)
        if self._worn_out is not None and self._worn_out(connection):
            connection.leave()

    def leaves(self, connection: H2Upstream) -> None:
        """A connection takes no further tries."""
        if connection in self._multiplexed:
            self._multiplexed.remove(connection)
        if self._pending:
            self._connect_if_allowed()

    def _pool_of_http1(self) -> ConnectionPool:
        if self.of_http1 is None:
            self.of_http1 = self._like_this()
        return self.of_http1

    def _pool_of_tunnels(self) -> ConnectionPool:
        if self.of_tunnels is None:
            self.of_tunnels = self._like_this()
        return self.of_tunnels

    def _like_this(self) -> ConnectionPool:
        """Another pool to the same host within the same limits, which does not speak HTTP/2."""
        idle, limits = self._idle_deadlines, self.limits
        made = ConnectionPool(self._loop, self._cork, self.cluster, self.host, limits, idle, self.transport)
        made._protocol = UpstreamProtocol.HTTP1
        made._speaks_h2 = False
        made._streams_each = 1
        return made

    def give_back(self, connection: H1Upstream) -> None:
        """The response is complete and the connection can carry another request."""
        if self._worn_out is not None and self._worn_out(connection):
            connection.closed_by_us = True
            connection.close()
        elif self._pending or self._draining:
            self._lend(connection)
        else:
            connection.idle_since = clock.now
            self._idle.append(connection)

    def _is_worn_out(self, connection: H1Upstream | H2Upstream) -> bool:
        """Whether the connection has reached what it may carry or how long it may live."""
        options, stats = self.options, self.cluster.stats
        if options.max_requests_per_connection and connection.requests >= options.max_requests_per_connection:
            stats.upstream_cx_max_requests.value += 1
            return True
        if options.max_connection_duration and clock.now - connection.created > options.max_connection_duration:
            stats.upstream_cx_max_duration_reached.value += 1
            return True
        return False

    def forget(self, attempt: Try) -> None:
        """A try that waited here is over."""
        try:
            self._pending.remove(attempt)
        except ValueError:
            return
        self._leave_queue()

    def _leave_queue(self) -> None:
        self.limits.release_pending()
        self.host.rq_pending_active -= 1

    def connection_closed(self, connection: H1Upstream | H2Upstream) -> None:
        if connection not in self._open:
            return
        self._open.discard(connection)
        if self._idle_deadlines is not None:
            self._idle_deadlines.disarm(connection)
        if isinstance(connection, H2Upstream):
            if connection in self._multiplexed:
                self._multiplexed.remove(connection)
        elif connection in self._idle:
            self._idle.remove(connection)
        self.limits.release_connection()
        stats = self.cluster.stats
        stats.upstream_cx_active.value -= 1
        stats.upstream_cx_destroy.value += 1
        stats.upstream_cx_length_ms.record(int((clock.now - connection.created) * 1000))
        stats.upstream_rq_per_cx.record(connection.requests)
        if connection.busy:
            stats.upstream_cx_destroy_with_active_rq.value += 1
        if connection.closed_by_us:
            stats.upstream_cx_destroy_local.value += 1
            if connection.busy:
                stats.upstream_cx_destroy_local_with_active_rq.value += 1
        else:
            stats.upstream_cx_destroy_remote.value += 1
            if connection.busy:
                stats.upstream_cx_destroy_remote_with_active_rq.value += 1
        self.host.cx_active -= 1
        if self._pending:
            self._connect_if_allowed()

    def drain(self) -> None:
        """The host is leaving: idle connections close now, the others after their response."""
        self._draining = True
        if self.high is not None:
            self.high.drain()
        for pool in self.by_options.values():
            pool.drain()
        if self.of_http1 is not None:
            self.of_http1.drain()
        if self.of_tunnels is not None:
            self.of_tunnels.drain()
        for connection in list(self._idle):
            connection.closed_by_us = True
            connection.close()
        self._idle.clear()
        for one in list(self._multiplexed):
            one.leave()

    def close(self) -> None:
        """All connections end now, and so do the tries on them."""
        self._draining = True
        if self.high is not None:
            self.high.close()
        for pool in self.by_options.values():
            pool.close()
        if self.of_http1 is not None:
            self.of_http1.close()
        if self.of_tunnels is not None:
            self.of_tunnels.close()
        for connection, (task, _) in list(self._opening.items()):
            if self._connect_ended(connection):
                task.cancel()
                self.cluster.stats.upstream_cx_destroy_local.value += 1
        for connection in list(self._open):
            connection.closed_by_us = True
            connection.abort()
        self._connect_failed(None)

    def __repr__(self) -> str:
        return (
            f"<ConnectionPool {self.host.address}: {len(self._open) - len(self._idle)} active, {len(self._idle)} idle, "
            f"{len(self._opening)} connecting, {len(self._pending)} waiting>"
        )
