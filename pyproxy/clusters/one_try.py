"""One try of a request on a host.

A `Try` is what the router awaits: it is over when the response headers are there, or when it failed. Its connection
feeds the rest of the response to the response body without the router.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.http.drive import Waiter
from pyproxy.http.message import Request, Response
from pyproxy.http.stream_info import UpstreamInfo
from pyproxy.tasks import Deadlines

if TYPE_CHECKING:
    from pyproxy.clusters.cluster import Cluster
    from pyproxy.clusters.conn_pool import ConnectionPool
    from pyproxy.clusters.try_timers import TryTimers


_CANARY: Final = b"x-envoy-upstream-canary"


class Try(Waiter):
    """One attempt to get a response from one host. `await` gives the Response (its body may still be coming)."""

    __slots__ = (
        "cluster",
        "connection",
        "deferred",
        "error",
        "info",
        "pool",
        "request",
        "response",
        "settled",
        "timeout",
        "timeout_after_request",
        "timers",
    )

    def __init__(self, request: Request, pool: ConnectionPool, cluster: Cluster) -> None:
        """`cluster` is where the route led, which counts what becomes of requests. Connections count for the host's."""
        self.drive = None
        self.over = False
        self.settled = False
        self.deferred = False
        """Whether another try follows is not known yet, and with it how this one counts."""
        self.request = request
        self.pool = pool
        self.cluster = cluster
        self.connection: Any = None
        """Something with `give_up`."""
        self.response: Response | None = None
        self.error: ProxyError | None = None
        self.timeout: Deadlines | None = None
        self.timeout_after_request: Deadlines | None = None
        """Starts when the request has been sent in full."""
        self.timers: TryTimers | None = None
        self.info = info = UpstreamInfo()
        host = pool.host
        info.host_address = host.address
        info.host_name = host.hostname
        info.host_metadata = host.metadata
        cluster.tell(info)

    def __await__(self) -> Generator[Any, None, Response]:
        if not self.over:
            yield self
        if self.error is not None:
            raise self.error
        assert self.response is not None
        return self.response

    def arm(self, timeout: Deadlines) -> None:
        """Limit the time until the response is complete."""
        self.timeout = timeout
        timeout.arm(self)

    def on_deadline(self, deadlines: Deadlines) -> None:
        self.timeout = None
        self.fail(
            ProxyError(
                ResponseFlag.UPSTREAM_REQUEST_TIMEOUT,
                Source.UPSTREAM,
                504,
                "response_timeout",
                body=b"upstream request timeout",
            )
        )

    def fail(self, error: ProxyError) -> None:
        """End the try. Before the response headers the waiting router sees the error, after them the body breaks."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.give_up()
        else:
            self.pool.forget(self)
        self._failed(error)

    def abandon(self) -> None:
        """Nobody wants the response any more. How the request ends then is no answer of the host's."""
        if self.settled:
            return
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.give_up()
        else:
            self.pool.forget(self)
        self.settle()

    def connection_failed(self, error: ProxyError) -> None:
        """The connection broke under the try."""
        self.connection = None
        self._failed(error)

    def _failed(self, error: ProxyError) -> None:
        if self.settled:
            return
        self.error = error
        response = self.response
        self.settle()
        if response is None:
            self.wake()
        elif response.body is not None and not response.body.ended:
            response.body.abort(error)

    def settle(self) -> None:
        """The last byte of the response came, or none will. Gives back what the try held and counts it; called once."""
        self.settled = True
        timeout, self.timeout = self.timeout, None
        if timeout is not None:
            timeout.disarm(self)
        if self.timers is not None:
            self.timers.disarm()
        pool = self.pool
        host = pool.host
        host.rq_active -= 1
        pool.limits.requests -= 1
        if not self.deferred:
            self.count()

    def count_late(self) -> None:
        """No other try follows, so that this one counts: now if it is over, or else when it is."""
        self.deferred = False
        if self.settled:
            self.count()

    def count(self) -> None:
        """This try is the last one: what became of it is what counts."""
        pool = self.pool
        host = pool.host
        stats, info = pool.cluster.stats, self.info
        stats.upstream_cx_rx_bytes_total.value += info.wire_received
        stats.upstream_cx_tx_bytes_total.value += info.wire_sent
        response = self.response
        if response is not None:
            self.cluster.count_response(host, response.status, self.info, internal=self.request.info.internal)
            if host.canary or response.headers.index.get(_CANARY) == b"true":
                self.cluster.count_canary(response.status, self.info)
            for one in self.request.info.counted:
                one.count_response(response.status, self.info)
        elif self.error is not None:
            self.cluster.count_failure(host, self.error, internal=self.request.info.internal)
            for one in self.request.info.counted:
                one.count_failure(self.error)
