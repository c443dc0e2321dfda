"""One request and its response, from the head that came to the last byte that went, and what is told of it.

`finish` is the only place that emits telemetry for a request, and it runs exactly once.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pyproxy import clock
from pyproxy.errors import ProxyError, Source
from pyproxy.http.body import Body
from pyproxy.http.codec import End, RequestHead
from pyproxy.http.drive import Drive
from pyproxy.http.message import Request, Response
from pyproxy.http.start_again import StartAgain
from pyproxy.http.stream import DownstreamStream
from pyproxy.http.stream_info import StreamInfo

if TYPE_CHECKING:
    from pyproxy.filters.network.http_connection_manager.manager import HttpConnectionManager
    from pyproxy.filters.network.http_connection_manager.periodic_log import PeriodicLog
    from pyproxy.filters.network.http_connection_manager.stream_timers import StreamTimers

log = logging.getLogger("pyproxy.http")


class Exchange(Drive):
    """Drives the filter chain for one request (see `http.stream.RequestHandler`)."""

    __slots__ = (
        "_finished",
        "broken_off",
        "expect_continue",
        "manager",
        "periodic",
        "refusal",
        "request",
        "response",
        "stream",
        "timers",
        "upgrade",
    )

    def __init__(
        self, manager: HttpConnectionManager, stream: DownstreamStream, head: RequestHead, body: Body | None
    ) -> None:
        self._coroutine = None
        self._waiting_for = None
        self.manager = manager
        self.stream = stream
        info = StreamInfo(clock.now, clock.now + clock.wall_offset, stream.info)
        info.protocol = head.version
        if manager.logging:
            info.logged = True
            host = 0 if head.host is None else len(head.host) + 7
            info.header_received = head.headers.size() + host + head.surplus or 3
        info.wire_received = head.size + len(head.body) + head.framing
        if body is None:
            info.request_end = info.start
        elif body.ended:
            info.request_end = info.start
            info.bytes_received = len(head.body)
        self.request = Request(head.method, head.target, head.host or b"", head.headers, info, body, head.scheme or b"")
        self.response: Response | None = None
        self.expect_continue = head.expect_continue
        self.upgrade = head.upgrade
        self.refusal: ProxyError | None = None
        self.timers: StreamTimers | None = None
        self.periodic: PeriodicLog | None = None
        self.broken_off = False
        """By us, after the response had begun."""
        self._finished = False

    def start(self) -> None:
        manager, request = self.manager, self.request
        try:
            if self.refusal is not None:
                raise self.refusal
            manager.prepare(request, self)
            manager.route(request, self)
        except ProxyError as error:
            if manager.closes_connection(request, error):
                self.stream.close_after_response()
            self.reply_locally(error)
            return
        self._coroutine = manager.chain(request)
        self.step()

    # The chain's end

    def on_raise(self, error: BaseException) -> None:
        if isinstance(error, StartAgain):
            self._start_again(error)
            return
        if not isinstance(error, ProxyError):
            log.error("a filter failed for %r", self.request, exc_info=error)
            error = ProxyError(None, Source.LOCAL, 500, "filter_exception")
        if error.status == 400 and self.manager.closes_connection(self.request, error):
            self.stream.close_after_response()
        self.reply_locally(error)

    def _start_again(self, again: StartAgain) -> None:
        """The request has become another one: what was is over, and is told of; all of it comes anew but what was
        done to the head of what the downstream sent."""
        request, before = self.request, self.request.info
        before.details = "internal_redirect"
        before.status = again.response.status
        self.response = again.response
        self.finish()
        self.response = None
        self._finished = False
        self.timers = self.periodic = None
        request.info = info = StreamInfo(clock.now, clock.now + clock.wall_offset, before.connection)
        info.protocol, info.stream_id = before.protocol, before.stream_id
        info.logged, info.internal, info.followed = before.logged, before.internal, before.followed
        info.request_end = info.start
        info.header_received, info.wire_received = before.header_received, before.wire_received
        info.bytes_received = before.bytes_received + again.size  # as Envoy counts what goes again
        try:
            self.manager.begin_again(request, self)
        except ProxyError as error:
            self.reply_locally(error)
            return
        self._coroutine = self.manager.chain(request)
        self.step()

    def reply_locally(self, error: ProxyError) -> None:
        if error.status:
            self.on_return(self.manager.reply(self.request, error))
            return
        info = self.request.info
        if error.flag is not None:
            info.add_flag(error.flag)
        info.details = error.details
        self.reset(error)

    def on_return(self, response: Response) -> None:
        request = self.request
        info = request.info
        self.response = response
        if info.details == "direct_response" and not info.shaped:
            response = self.response = self.manager.shape_direct(request, response)
        if info.span is not None:
            info.span.on_response(request, response)
        self.manager.finalize_response(request, response)
        if self.manager.tap.bodies:
            self.manager.tap.watch_response(request, response)
        info.status = response.status
        info.response_start = clock.now
        self.stream.send_response(response.status, response.headers, response.body, info)

    # What the stream reports

    def on_request_data(self, size: int) -> None:
        info = self.request.info
        info.bytes_received += size
        info.wire_received += size

    def on_request_end(self, end: End) -> None:
        info = self.request.info
        info.request_end = clock.now
        info.wire_received += end.framing
        if end.trailers and info.logged:
            info.header_received += sum([len(name) + len(value) + 3 for name, value in end.trailers])
        if self.timers is not None:
            self.timers.request_ended()

    def on_sent(self) -> None:
        self.finish()

    def on_downstream_reset(self, error: ProxyError) -> None:
        """The downstream is gone or too slow, or the response broke off. A late answer is given if none has begun."""
        info = self.request.info
        if self.response is None and error.status:
            made = self.throw(error)
            if isinstance(made, Response):  # a filter saw the reply
                self.on_return(made)
            else:
                self.reply_locally(error)
            return
        if error.flag is not None:
            info.add_flag(error.flag)
        if error.details and (error.source is not Source.DOWNSTREAM or self.response is None):
            info.details = error.details
        response = self.response
        info.cut = True
        self.broken_off = error.source is not Source.DOWNSTREAM
        self.throw(error)
        if response is not None and response.body is not None and not response.body.ended:
            response.body.cancel(error)
        self.finish()

    def time_out(self, error: ProxyError) -> None:
        """One of the stream's clocks ran out."""
        if self.response is None:
            self.on_downstream_reset(error)
        else:
            self.stream.on_abort(error)

    def reset(self, error: ProxyError) -> None:
        self.stream.reset()
        self.finish()

    def finish(self) -> None:
        """Everything that happens once when a request is over."""
        if self._finished:
            return
        self._finished = True
        if self.timers is not None:
            self.timers.disarm()
        if self.periodic is not None:
            self.periodic.stop()
        self.manager.finished(self)
