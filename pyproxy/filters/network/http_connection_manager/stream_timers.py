"""The clocks of one stream that few configurations set: request_timeout, max_stream_duration, a route's idle_timeout.

A request gets such an object only where one of them is on; the others pay nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyproxy import clock
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.filters.network.http_connection_manager.config import HcmTimeouts
from pyproxy.http import grpc
from pyproxy.http.message import Headers
from pyproxy.routes.route import Route
from pyproxy.tasks import Deadlines, DeadlineTable

if TYPE_CHECKING:
    from pyproxy.filters.network.http_connection_manager.exchange import Exchange


class StreamTimers:
    """The armed clocks of one exchange."""

    __slots__ = ("_duration", "_exchange", "_idle", "_request")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._request: Deadlines | None = None
        self._duration: Deadlines | None = None
        self._idle: Deadlines | None = None

    @staticmethod
    def wanted(timeouts: HcmTimeouts) -> bool:
        """Whether every request of a connection manager needs one."""
        return bool(timeouts.request or timeouts.max_stream_duration)

    @classmethod
    def arm(cls, table: DeadlineTable, timeouts: HcmTimeouts, route: Route | None, exchange: Exchange) -> None:
        timers = cls(exchange)
        duration = timeouts.max_stream_duration
        if route is not None and route.max_stream_duration is not None:
            duration = route.max_stream_duration
        if route is not None and route.grpc_timeout_max is not None:
            duration = _grpc_duration(exchange.request.headers, route, duration)
        idle = route.idle_timeout if route is not None else None
        if timeouts.request and not exchange.request.info.request_end:
            timers._request = table.of(timeouts.request)
            timers._request.arm(timers)
        if duration:
            timers._duration = table.of(duration)
            timers._duration.arm(timers)
        if idle:
            timers._idle = table.of(idle)
            timers._idle.arm(timers)
        exchange.timers = timers

    def request_ended(self) -> None:
        if self._request is not None:
            self._request.disarm(self)
            self._request = None

    def disarm(self) -> None:
        for deadlines in (self._request, self._duration, self._idle):
            if deadlines is not None:
                deadlines.disarm(self)

    def on_deadline(self, deadlines: Deadlines) -> None:
        exchange = self._exchange
        if deadlines is self._request:
            exchange.time_out(
                ProxyError(None, Source.DOWNSTREAM, 408, "request_overall_timeout", body=b"request timeout")
            )
        elif deadlines is self._duration:
            exchange.time_out(
                ProxyError(None, Source.LOCAL, 504, "max_duration_timeout", body=b"downstream duration timeout")
            )
        else:
            left = exchange.stream.last_active + deadlines.seconds - clock.monotonic()
            if left > 0.001:
                deadlines.arm_early(self, left)
                return
            status = 504 if exchange.request.info.request_end else 408
            exchange.time_out(
                ProxyError(
                    ResponseFlag.STREAM_IDLE_TIMEOUT,
                    Source.LOCAL,
                    status,
                    "stream_idle_timeout",
                    body=b"stream timeout",
                )
            )


def _grpc_duration(headers: Headers, route: Route, otherwise: float) -> float:
    """As long as the call asks for, up to what the route allows, where 0 allows any (Envoy)."""
    most = route.grpc_timeout_max
    asked = grpc.timeout(headers)
    if most is None or grpc.TIMEOUT not in headers.index:
        return otherwise
    seconds = most if asked is None or (most and (not asked or asked > most)) else asked
    if seconds > route.grpc_timeout_offset:
        seconds -= route.grpc_timeout_offset
    if seconds:
        headers.set(grpc.TIMEOUT, grpc.timeout_value(seconds))  # nobody need work for longer
    return seconds
