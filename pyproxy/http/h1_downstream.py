"""A downstream HTTP/1 connection: one request at a time, in order, with keep-alive and pipelining (RFC 9112 9.3)."""

from __future__ import annotations

from collections import deque
from typing import Final

from pyproxy import clock
from pyproxy.errors import ProxyError
from pyproxy.http import downstream_errors
from pyproxy.http.body import Body
from pyproxy.http.codec import CodecError, End, RequestDecoder, RequestEvent, RequestHead
from pyproxy.http.h1_options import H1DownstreamOptions
from pyproxy.http.h1_response_writer import H1ResponseWriter
from pyproxy.http.stream import StreamAcceptor
from pyproxy.http.stream_info import ConnectionInfo
from pyproxy.network.connection import Connection
from pyproxy.network.cork import Cork
from pyproxy.tasks import Deadlines

PREFACE: Final = b"PRI * HTTP/2"
"""How a connection that speaks HTTP/2 begins; no request of HTTP/1 does."""


class H1Downstream(H1ResponseWriter):
    """One connection, which is also the stream of the request that it carries at the moment."""

    __slots__ = (
        "_acceptor",
        "_body",
        "_client_leaves",
        "_closing",
        "_decoder",
        "_head_timed",
        "_known",
        "_opening",
        "_queue",
        "_serving",
        "_unread",
        "_unsent",
        "info",
        "requests",
    )

    def __init__(
        self, cork: Cork, decoder: RequestDecoder, acceptor: StreamAcceptor, options: H1DownstreamOptions
    ) -> None:
        super().__init__(cork, options)
        self._decoder = decoder
        self._acceptor = acceptor
        self._queue: deque[RequestEvent] = deque()  # events of requests behind the one in progress
        self._body: Body | None = None  # of the request, while it comes
        self._unread = 0  # bytes of a request that could not be read yet
        self._client_leaves = False  # it has said so, in the request
        self._closing = False  # no more requests are read
        self._known = False  # that it is HTTP/1
        self._opening = b""  # what may become the preface of HTTP/2
        self._serving = False  # the queue
        self._head_timed = False  # by the clock for request heads
        self._unsent = 0  # when the clock of the close was last looked at
        self.info = ConnectionInfo()
        self.requests = 0

    # The life of the connection

    def on_open(self) -> None:
        self.last_active = clock.now
        self._acceptor.on_open(self)
        options = self._options
        if options.idle is not None:
            options.idle.arm(self)
        if options.stream_idle is not None:
            options.stream_idle.arm(self)
        if options.max_duration is not None:
            options.max_duration.arm(self)
        if options.sniff and self.encrypted:
            tls = self.transport.get_extra_info("ssl_object")
            if tls is not None and tls.selected_alpn_protocol() == "h2":
                self._become_h2(b"")

    def on_bytes(self, data: bytes) -> None:
        if self._closing:
            return
        if not self._known:
            if self._tunnel:
                self._tunnel_bytes(data)
                return
            data = self._first_bytes(data)
            if not data:
                return
        events = self._decoder.receive(data)
        if len(events) == 1 and self.handler is None:
            only = events[0]
            if isinstance(only, RequestHead):
                self._begin(only)
                return
        if not events:
            self._head_incomplete(len(data))
            return
        if self._queue:
            self._queue.extend(events)
            return
        if isinstance(events[-1], CodecError):
            self._unread += len(data)
        for position, event in enumerate(events):
            if self.handler is not None and self._request_ended:
                self._queue.extend(events[position:])
                self.pause_reading()
                return
            if self._tunnel:
                self._behind_tunnel_head(event)
            elif isinstance(event, RequestHead):
                self._begin(event)
            else:
                self._rest_of_message(event)

    def _first_bytes(self, data: bytes) -> bytes:
        """Which HTTP is it? Gives what is to be read as HTTP/1, if anything (Envoy: codec_type AUTO)."""
        if self._options.sniff:
            seen = self._opening + data
            if PREFACE.startswith(seen[: len(PREFACE)]):
                if len(seen) >= len(PREFACE):
                    self._become_h2(seen)
                else:
                    self._opening = seen
                    self._head_incomplete(len(data))
                return b""
            data, self._opening = seen, b""
        self._known = True
        self._acceptor.on_codec(self, "HTTP/1.1")
        return data

    def _behind_tunnel_head(self, event: RequestEvent) -> None:
        """What came at once with a request for a tunnel, before anybody agreed to it."""
        if isinstance(event, bytes):
            self._tunnel_bytes(event)
        else:  # it was taken for HTTP: whoever sends that does not wait for the answer
            self.abort()

    def _tunnel_bytes(self, data: bytes) -> None:
        self.last_active = clock.now
        body = self._body
        if body is not None:
            if self.handler is not None:
                self.handler.on_request_data(len(data))
            body.feed(data)

    def _become_h2(self, data: bytes) -> None:
        self._closing = True
        self._disarm()
        self._acceptor.become_h2(self, data)

    def _disarm(self) -> None:
        options = self._options
        for deadlines in (
            options.idle,
            options.stream_idle,
            options.request_headers,
            options.delayed_close,
            options.max_duration,
        ):
            if deadlines is not None:
                deadlines.disarm(self)

    @property
    def active(self) -> int:
        return 0 if self.handler is None else 1

    def on_eof(self) -> bool:
        if self._half_closes() and not self._request_ended and self.handler is not None:
            return self._end_way_up()
        # As in Envoy, whoever says that nothing more will come has gone, and waits for no answer.
        self.info.left = True
        if self.handler is not None:
            self.abort()
        elif self._options.delayed_close is not None:
            self._options.delayed_close.arm_once(self)
        return False

    def on_closed(self, error: Exception | None) -> None:
        self._disarm()
        self._closing = True
        self._queue.clear()
        handler, self.handler = self.handler, None
        if error is not None or self.left_by_peer:
            self.info.left = True
        if handler is not None:
            self.info.cut_requests = 1
            handler.on_downstream_reset(downstream_errors.gone())
        self._drop_bodies()
        self._acceptor.on_closed(self)

    def on_writable(self, writable: bool) -> None:
        body = self._response_body
        if body is not None:
            self.last_active = clock.now
            if writable:
                body.release()
            else:
                body.hold()

    def on_deadline(self, deadlines: Deadlines) -> None:
        """One of the connection's timeouts. Idle clocks are not restarted by traffic: look, and wait for the rest."""
        options = self._options
        if deadlines is options.delayed_close:
            self._close_at_last(deadlines)
        elif deadlines is options.request_headers:
            if self.handler is None and not self._closing:
                self._refuse(CodecError(408, "request_header_timeout", "the request head took too long"))
        elif deadlines is options.max_duration:
            self.info.close_cause = "max_duration_reached"
            self.drain()
        elif deadlines is options.idle:
            if self.handler is not None:
                deadlines.arm(self)
            elif self._idle_for(deadlines):
                self.info.close_cause = "idle_timeout"
                self._close_in_time()
        elif self.handler is None:
            deadlines.arm(self)
        elif self._idle_for(deadlines):
            self._give_up(downstream_errors.stream_idle(504 if self._request_ended else 408))
            if not self._closing:
                deadlines.arm(self)

    def _give_up(self, error: ProxyError) -> None:
        """End the exchange in progress: with a local reply, or by breaking off the response that has begun."""
        if self._response_body is not None or self._half_open:
            self.on_abort(error)
        elif self.handler is not None:
            self.handler.on_downstream_reset(error)

    def _close_in_time(self) -> None:
        """Close after what was written. A downstream that does not read it cannot keep the connection open for ever."""
        self._closing = True
        self.close()
        if self._options.delayed_close is not None:
            self._options.delayed_close.arm(self)

    def _close_at_last(self, deadlines: Deadlines) -> None:
        """The downstream has had its time to read the last bytes; it gets more as long as it goes on reading."""
        unsent = self.unsent()
        if unsent and (not self._unsent or unsent < self._unsent):
            self._unsent = unsent
            deadlines.arm(self)
        else:
            self.info.close_cause = "delayed_close_timeout"
            self.abort()

    def _idle_for(self, deadlines: Deadlines) -> bool:
        left = self.last_active + deadlines.seconds - clock.now
        if left <= 0.001:
            return True
        deadlines.arm_early(self, left)
        return False

    def drain(self) -> None:
        """Take no further request: close when idle, else after the response in progress."""
        self._keep_alive = False
        if self.handler is None and not self._closing:
            self._close_in_time()

    # Requests

    def _begin(self, head: RequestHead) -> None:
        self.requests += 1
        self._unread = 0
        self.last_active = clock.now
        if self._head_timed:
            self._stop_head_clock()
        self._head_method = head.method
        self._version = head.version
        self._client_leaves = not head.keep_alive
        self._keep_alive = self._keep_alive and head.keep_alive and not self._asked_to_leave
        body: Body | None
        if head.upgrade and self._options.tunnels and _asks_for_tunnel(head):
            self._request_ended = False
            self._known = False
            self._tunnel = True
            self._body = body = Body(self, self.buffer_limit)
        elif head.ended:
            self._request_ended = True
            body = Body.complete(head.body) if head.body or head.chunked else None
        else:
            self._request_ended = False
            self._body = body = Body(self, self.buffer_limit)
        if self._options.max_requests and self.requests >= self._options.max_requests:
            self._keep_alive = False
            self.info.close_cause = "max_requests_reached"
        self.handler = handler = self._acceptor.on_request(self, head, body)
        # A response that is there before anybody could have read the body ends the connection (as in Envoy).
        self._body_unread = body is not None
        handler.start()
        self._body_unread = False

    def _rest_of_message(self, event: bytes | End | CodecError) -> None:
        body = self._body
        if isinstance(event, CodecError):
            self._broken(event)
        elif self._closing or body is None:
            return
        elif isinstance(event, End):
            self._body = None
            self._request_ended = True
            self.last_active = clock.now
            body.end(event.trailers)
            if self.handler is not None:
                self.handler.on_request_end(event)
        else:
            self.last_active = clock.now
            if self.handler is not None:
                self.handler.on_request_data(len(event))
            body.feed(event)

    def _broken(self, error: CodecError) -> None:
        """The downstream broke the protocol: answer if nothing was answered yet, and read no more."""
        if self.handler is None:
            self._refuse(error)
            return
        self._keep_alive = False
        self._closing = True
        if not self._request_ended:
            self._give_up(downstream_errors.broken(error))

    def _refuse(self, error: CodecError) -> None:
        self._keep_alive = False
        self._closing = True
        self._request_ended = False
        self._head_method = b""
        self._version = "HTTP/1.1"
        self.handler = self._acceptor.on_codec_error(self, error, self._unread)
        self.handler.start()

    def _head_incomplete(self, size: int) -> None:
        self._unread += size
        if self.handler is None and self._options.request_headers is not None:
            self._options.request_headers.arm_once(self)
            self._head_timed = True

    def _stop_head_clock(self) -> None:
        self._head_timed = False
        if self._options.request_headers is not None:
            self._options.request_headers.disarm(self)

    # Responses: DownstreamStream and Sink

    def _end_way_up(self) -> bool:
        """The downstream says that nothing more will come. Whether the connection stays for what comes down."""
        self.last_active = clock.now
        self._rest_of_message(End())
        if self._half_open:
            self._sent()
            return False
        return True

    def cancel_body(self, error: ProxyError) -> None:
        """Nobody wants the rest of the request: the response says what follows, unless it is over already."""
        if self._half_open:
            self.on_abort(error)
        elif self._half_closes():
            self._request_ended = True
            self._body = None

    def reset(self) -> None:
        self._drop_bodies()
        self._close_in_time()

    def _sent(self) -> None:
        """The response is out: the next request, or the end of the connection."""
        self._response_body = None
        self._stream_info = None
        handler, self.handler = self.handler, None
        self.last_active = clock.now
        if handler is not None:
            handler.on_sent()
        if not self._keep_alive:
            self._finish_connection()
        elif self._queue:
            self._serve_queue()

    def _finish_connection(self) -> None:
        if self._client_leaves and self._request_ended:  # it has said that nothing more will come (as in Envoy)
            self._close_in_time()
            return
        # Closing with unread bytes would send RST, which may overtake the response: take what comes for a while. Who
        # has read the response closes too, and then it was not us.
        self._closing = True
        body, self._body = self._body, None
        if body is not None:
            body.abort(downstream_errors.gone())
        self._queue.clear()
        self.resume_reading()
        self.shutdown_write()
        if self._options.delayed_close is not None:
            self._options.delayed_close.arm(self)
        else:
            self.close()

    def _serve_queue(self) -> None:
        """Requests that were pipelined behind the one that is done. One that is answered at once comes back to here."""
        if self._serving:
            return
        self._serving = True
        queue = self._queue
        try:
            while queue and not self._closing and (self.handler is None or not self._request_ended):
                event = queue.popleft()
                if isinstance(event, RequestHead):
                    self._begin(event)
                else:
                    self._rest_of_message(event)
        finally:
            self._serving = False
        if self._body is None or not self._body.stopped:
            self.resume_reading()

    def resume_reading(self) -> None:
        """Read on, unless there is more here already than can be served."""
        if not self._queue:
            Connection.resume_reading(self)

    def _drop_bodies(self, error: ProxyError | None = None) -> None:
        """`error` is what a request says that has not come to its end; by default, that the downstream is gone."""
        request_body, self._body = self._body, None
        if request_body is not None:
            request_body.abort(error or downstream_errors.gone())
        response_body, self._response_body = self._response_body, None
        if response_body is not None:
            response_body.detach()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "closing" if self._closing else "busy" if self.handler else "idle"
        return f"<H1Downstream {self.info.connection_id} {state}, {self.requests} requests>"


def _asks_for_tunnel(head: RequestHead) -> bool:
    """An upgrade to HTTP/2 is not taken for one (RFC 9113 3.1)."""
    return head.method == b"CONNECT" or (head.ended and (head.headers.joined(b"upgrade") or b"").lower() != b"h2c")
