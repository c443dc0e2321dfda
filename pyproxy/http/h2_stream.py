"""One stream of a downstream HTTP/2 connection: a request that comes in, and the response that goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pyproxy import clock
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.http import downstream_errors
from pyproxy.http.body import Body, Trailers
from pyproxy.http.codec import End
from pyproxy.http.h2_head import block_size, response_pairs, without_upgrade
from pyproxy.http.h2_session import CANCEL, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM
from pyproxy.http.message import Headers, Pair
from pyproxy.http.stream import RequestHandler
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo

if TYPE_CHECKING:
    from pyproxy.http.h2_downstream import H2Downstream

_BODILESS: Final = frozenset((204, 304))
_FRAME: Final = 9


class H2DownstreamStream:
    """See `http.stream.DownstreamStream`; also the source of the request's body, and the sink of the response's."""

    __slots__ = (
        "_body",
        "_connection",
        "_ended",
        "_held",
        "_info",
        "_method",
        "_response_body",
        "_sent_all",
        "_tunnel",
        "_unconsumed",
        "body_unread",
        "created",
        "handler",
        "info",
        "last_active",
        "number",
        "request_ended",
        "responded",
    )

    def __init__(self, connection: H2Downstream, number: int, method: bytes, info: ConnectionInfo) -> None:
        self._connection = connection
        self._method = method
        self._body: Body | None = None  # of the request, while it comes
        self._response_body: Body | None = None  # while it goes
        self._held = False
        self._unconsumed = 0  # bytes of the request that have not gone on yet
        self._info: StreamInfo | None = None
        self._ended = False  # our end of the stream
        self._sent_all = False  # and it went out
        self._tunnel = False  # it is a CONNECT that was granted: each way ends by itself
        self.number = number
        self.info = info
        self.created = clock.now
        self.last_active = clock.now
        self.handler: RequestHandler | None = None
        self.request_ended = True
        self.responded = False
        self.body_unread = False
        """The request has a body that nobody can have read yet."""

    def expect_body(self) -> Body:
        """The request has a body, which is still to come."""
        self.request_ended = False
        self._body = body = Body(self, self._connection.buffer_limit)
        return body

    # The request: what the connection brings

    def receive(self, data: bytes, *, ended: bool) -> None:
        size = len(data)
        self.last_active = clock.now
        body = self._body
        if size:
            if self.handler is not None:
                self.handler.on_request_data(size)
            if body is not None:
                body.feed(data)
                if self._held:
                    self._unconsumed += size
                elif not ended:
                    self._connection.consume(self.number, size)
        if ended:
            self.receive_end(None)

    def receive_end(self, trailers: Trailers | None) -> None:
        if self.request_ended:
            return
        self.request_ended = True
        body, self._body = self._body, None
        if body is not None:
            body.end(trailers)
        if self.handler is not None:
            self.handler.on_request_end(End(trailers))
            if self._sent_all:
                self._sent()

    def pause_reading(self) -> None:
        self._held = True

    def resume_reading(self) -> None:
        self._held = False
        size, self._unconsumed = self._unconsumed, 0
        if size:
            self._connection.consume(self.number, size)

    def cancel_body(self, error: ProxyError) -> None:
        """Nobody wants the rest of the request: the response says what follows, unless it is over already."""
        self.resume_reading()
        if self._sent_all:
            self.on_abort(error)
        else:
            self._tunnel = False  # so that its end is that of the stream

    # The response

    def send_informational(self, status: int, info: StreamInfo) -> None:
        self._connection.inform(self.number, response_pairs(status, Headers()))

    def close_after_response(self) -> None:
        """Other streams are not concerned."""

    def send_response(self, status: int, headers: Headers, body: Body | None, info: StreamInfo) -> None:
        self.responded = True
        if (
            self.body_unread and not info.body_read
        ):  # nobody took note of it, as far as the log is concerned (as in Envoy)
            info.request_end = 0.0
            info.bytes_received = 0
        bodiless = self._method == b"HEAD" or status in _BODILESS
        if status == 204 and b"content-length" in headers.index:  # RFC 9110 8.6
            headers.remove(b"content-length")
        if status == 101:  # there are no upgrades in HTTP/2: the answer to an extended CONNECT is 200
            pairs = response_pairs(200, Headers(without_upgrade(headers.pairs)))
        else:
            pairs = response_pairs(status, headers)
        info.header_sent = size = block_size(pairs) if info.logged else 0
        info.wire_sent += size + _FRAME
        whole: bytes | None
        if body is None:
            whole = b""
        elif bodiless:
            body.detach()
            whole = b""
        else:
            whole = body.take()
        connection = self._connection
        self._tunnel = self._method == b"CONNECT" and 200 <= status < 300
        if whole is not None:
            if whole:
                info.bytes_sent = len(whole)
                info.wire_sent += len(whole) + _FRAME
            self._ended = True
            trailers = None if body is None or bodiless else body.trailers
            connection.respond(self.number, pairs, whole, ended=trailers is None)
            if trailers is not None:
                self._end_with(trailers, info)
            if self._tunnel and not self.request_ended:
                self._info = info
            elif connection.session.waiting(self.number) <= connection.buffer_limit:
                self._sent()
            else:
                self._info = info
            return
        assert body is not None
        self._info = info
        self.last_active = clock.now
        connection.respond(self.number, pairs, b"", ended=False)
        self._response_body = body
        body.pipe_to(self)

    def on_data(self, chunk: bytes) -> None:
        info, size = self._info, len(chunk)
        if info is not None:
            info.bytes_sent += size
            info.wire_sent += size + _FRAME
        self.last_active = clock.now
        if not self._connection.send(self.number, chunk) and self._response_body is not None:
            self._response_body.hold()

    def on_end(self, trailers: Trailers | None) -> None:
        self._response_body = None
        self._ended = True
        info = self._info
        if trailers:
            self._end_with(trailers, info)
        else:
            self._connection.send_end(self.number)

    def _end_with(self, trailers: Trailers, info: StreamInfo | None) -> None:
        if info is not None:
            info.response_trailers = trailers
            if info.logged:
                size = block_size(trailers)
                info.header_sent += size
                info.wire_sent += size + _FRAME
        self._connection.send_trailers(self.number, trailers)

    def on_drained(self) -> None:
        self.last_active = clock.now
        if self._response_body is not None:
            self._response_body.release()

    def on_abort(self, error: ProxyError) -> None:
        """The response broke off: the downstream must be able to tell."""
        self._response_body = None
        self._connection.reset(self.number, INTERNAL_ERROR if error.source is Source.UPSTREAM else CANCEL)
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.on_downstream_reset(error)
        self._drop_bodies(error)

    def reset(self) -> None:
        self._connection.reset(self.number, CANCEL)
        self.handler = None
        self._drop_bodies()

    def on_end_sent(self) -> None:
        """The last of the response went out. The rest of a request that it did not wait for is not wanted."""
        if self._tunnel and not self.request_ended:
            self._sent_all = True
            return
        self._sent()
        if not self.request_ended:
            self._connection.reset(self.number, NO_ERROR)
            self.request_ended = True
            self._drop_bodies()

    def _sent(self) -> None:
        self._info = None
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.on_sent()

    # The end

    @property
    def idle(self) -> bool:
        """Our end is over and went out."""
        return self._ended and self.handler is None

    def give_up(self, error: ProxyError) -> None:
        """End the exchange in progress: with a local reply, or by breaking off the response that has begun."""
        if self._response_body is not None or self._ended:
            self.on_abort(error)
        elif self.handler is not None:
            self.handler.on_downstream_reset(error)

    def closed(self, code: int) -> None:
        """The stream is over. Where the response was not, the downstream has reset it."""
        handler, self.handler = self.handler, None
        if handler is not None:
            if self._ended and not code:
                handler.on_sent()
            else:
                handler.on_downstream_reset(_reset_error(code))
        self._drop_bodies()

    def broken(self, error: ProxyError) -> None:
        """The connection, or the message, is broken."""
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.on_downstream_reset(error)
        self._drop_bodies(error)

    def _drop_bodies(self, error: ProxyError | None = None) -> None:
        """`error` is what a request says that has not come to its end; by default, that the downstream is gone."""
        self._held = False
        request_body, self._body = self._body, None
        if request_body is not None:
            request_body.abort(error or downstream_errors.gone())
        response_body, self._response_body = self._response_body, None
        if response_body is not None:
            response_body.detach()

    def __repr__(self) -> str:
        return f"<H2DownstreamStream {self.number}{' ended' if self._ended else ''}>"


def _reset_error(code: int) -> ProxyError:
    details = "http2.remote_refuse" if code == REFUSED_STREAM else "http2.remote_reset"
    return ProxyError(ResponseFlag.DOWNSTREAM_REMOTE_RESET, Source.DOWNSTREAM, 0, details)


def trailers_of(pairs: list[Pair]) -> Trailers:
    """Fields of a trailer section; what only a head may say is left out (RFC 9110 6.5.1)."""
    return [pair for pair in pairs if pair[0] != b"content-length" and pair[0] != b"host"]
