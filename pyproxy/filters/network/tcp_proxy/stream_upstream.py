"""The upstream half of a TCP session that is a stream among others: a CONNECT or POST on a connection of the cluster's
pool, so that many sessions share one connection over HTTP/2 (Envoy: TcpProxy.TunnelingConfig).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pyproxy.clusters.cluster import Cluster
from pyproxy.clusters.conn_pool import ConnectionPool
from pyproxy.clusters.host import Host
from pyproxy.clusters.one_try import Try
from pyproxy.clusters.pool_errors import overflow
from pyproxy.clusters.pool_of_host import pool_of
from pyproxy.clusters.transport_socket_options import options_of_connection
from pyproxy.errors import ProxyError
from pyproxy.filters.network.tcp_proxy.tunnel import BadTunnel, Opening
from pyproxy.http.body import Body, Trailers
from pyproxy.http.drive import Drive
from pyproxy.http.h2_head import CONNECT
from pyproxy.http.message import Request, Response
from pyproxy.network.connection import Peer

if TYPE_CHECKING:
    from pyproxy.filters.network.tcp_proxy.session import TcpSession


class StreamUpstream(Drive):
    """Lives as long as its session wants it. Also the sink of what comes through the tunnel."""

    __slots__ = (
        "_answer",
        "_attempt",
        "_cluster",
        "_counted",
        "_down",
        "_session",
        "_takes_no_more",
        "_up",
        "_used",
        "half_closed",
    )

    def __init__(self, session: TcpSession, cluster: Cluster, host: Host, opening: Opening) -> None:
        super().__init__()
        assert session.request is not None
        self._session = session
        self._cluster = cluster
        self._answer: asyncio.Future[None] = session.proxy.runtime.loop.create_future()
        self._up = Body(Upward(self, session), session.buffer_limit)
        self._takes_no_more = False
        self._down: Body | None = None
        self._used = False
        self._counted = False
        self.half_closed = False
        """The upstream will send no more."""
        scheme = b"http" if cluster.dialer(host) is None else b"https"
        method = b"POST" if opening.path else b"CONNECT"
        request = Request(method, opening.path, opening.host, opening.headers, session.request.info, self._up, scheme)
        request.half_closes = True
        if not opening.path:
            request.upgrade = CONNECT
        self._attempt = Try(request, self._pool(host), cluster)
        self._attempt.deferred = True  # a tunnel is no answer that counts
        session.request.info.upstream = self._attempt.info

    def _pool(self, host: Host) -> ConnectionPool:
        """That of all requests to the host; what a session wants of its connection sets it apart."""
        cluster, info = self._cluster, self._session.info
        pool = pool_of(cluster, host, self._session.proxy.runtime.cork)
        if cluster.tells or info.wants_more:
            pool = pool.of(options_of_connection(info, tells=cluster.tells))
        return pool

    async def connect(self) -> None:
        """Until the tunnel is there. Raises ProxyError, and BadTunnel where the upstream does not agree."""
        attempt = self._attempt
        host, limits = attempt.pool.host, attempt.pool.limits
        host.rq_active += 1
        limits.requests += 1
        if limits.requests > limits.max_requests:
            self._cluster.stats.upstream_rq_active_overflow.value += 1
            attempt.connection_failed(overflow())
        else:
            try:
                attempt.pool.submit(attempt)
            except ProxyError as error:
                attempt.connection_failed(error)
        self.run(self._ask())
        try:
            await self._answer
        except BaseException:
            self._leave()
            raise

    async def _ask(self) -> Response:
        return await self._attempt

    def on_return(self, value: Any) -> None:
        response: Response = value
        if self._answer.done():
            return
        if not 200 <= response.status < 300:
            self._answer.set_exception(BadTunnel(f"tunnel_response:{response.status}"))
            return
        self._answer.set_result(None)
        self._used = True
        self._down = response.body
        self._session.connected(self)
        if self._session.closed:
            self._leave()
        elif response.body is None:
            self.on_end(None)
        else:
            response.body.pipe_to(self)

    def on_raise(self, error: BaseException) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)

    # Up

    def send(self, data: bytes) -> int:
        """What it takes on the wire is counted where it is sent."""
        self._up.feed(data)
        return 0

    def finish(self) -> None:
        """The downstream will send no more."""
        self._up.end()

    def takes_no_more(self, error: ProxyError) -> None:
        """The upstream, though it had said all that it had to say, which may still be on its way."""
        self._takes_no_more = True
        if self.half_closed:
            self._leave()
            self._session.upstream_closed(error)

    # Down

    def on_data(self, chunk: bytes) -> None:
        self._session.from_upstream(chunk, 0)

    def on_end(self, trailers: Trailers | None) -> None:
        self.half_closed = True
        self._down = None
        stays = self._session.upstream_said_all()
        if not stays or self._takes_no_more:
            self._leave()
            self._session.close()

    def on_abort(self, error: ProxyError) -> None:
        self._down = None
        self._leave()
        self._session.upstream_closed(error)

    def pause_reading(self) -> None:
        if self._down is not None:
            self._down.hold()

    def resume_reading(self) -> None:
        if self._down is not None:
            self._down.release()

    # The end

    def close(self) -> None:
        """The session is over, and with it what has not come or gone yet."""
        self._leave()

    def abort(self) -> None:
        self._leave()

    def _leave(self) -> None:
        down, self._down = self._down, None
        if down is not None:
            down.detach()
        attempt = self._attempt
        if not attempt.settled:
            attempt.abandon()
        if not self._counted:
            self._counted = True
            stats = self._cluster.stats
            stats.upstream_cx_rx_bytes_total.value += attempt.info.wire_received
            stats.upstream_cx_tx_bytes_total.value += attempt.info.wire_sent

    def local(self) -> Peer:
        return self._attempt.info.local

    def __repr__(self) -> str:
        state = "over" if self._attempt.settled else "open" if self._used else "asked for"
        return f"<StreamUpstream {state}>"


class Upward:
    """What a body is told that goes up: its source is the downstream of the session."""

    __slots__ = ("_session", "_upstream")

    def __init__(self, upstream: StreamUpstream, session: TcpSession) -> None:
        self._upstream = upstream
        self._session = session

    def pause_reading(self) -> None:
        self._session.upstream_writable(False)

    def resume_reading(self) -> None:
        self._session.upstream_writable(True)

    def cancel_body(self, error: ProxyError) -> None:
        self._upstream.takes_no_more(error)
