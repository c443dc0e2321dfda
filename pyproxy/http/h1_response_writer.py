"""Writing the responses of a downstream HTTP/1 connection: heads, bodies, framing, and what is granted of tunnels."""

from __future__ import annotations

from typing import Final

from pyproxy import clock
from pyproxy.errors import ProxyError
from pyproxy.http import h1_encode
from pyproxy.http.body import Body, Trailers
from pyproxy.http.fast import write_head
from pyproxy.http.h1_options import H1DownstreamOptions
from pyproxy.http.message import Headers, Pair
from pyproxy.http.stream import RequestHandler
from pyproxy.http.stream_info import StreamInfo
from pyproxy.network.connection import Connection
from pyproxy.network.cork import Cork

SMALL: Final = 4096
"""Up to this many bytes copying a chunk into its frame is cheaper than a longer writev."""

_CLOSE: Final = (b"connection", b"close")
_KEEP_ALIVE: Final = (b"connection", b"keep-alive")
_CHUNKED: Final = (b"transfer-encoding", b"chunked")
_NO_LENGTH: Final = (b"content-length", b"0")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS: Final = frozenset((204, 304))


class H1ResponseWriter(Connection):
    """The half of a connection that answers (`http.stream.DownstreamStream`, `http.body.Sink`). The other half reads
    requests: `http.h1_downstream`."""

    __slots__ = (
        "_asked_to_leave",
        "_body_unread",
        "_chunked",
        "_half_open",
        "_head_method",
        "_keep_alive",
        "_options",
        "_request_ended",
        "_response_body",
        "_stream_info",
        "_tunnel",
        "_version",
        "handler",
        "last_active",
    )

    def __init__(self, cork: Cork, options: H1DownstreamOptions) -> None:
        super().__init__(cork)
        self._asked_to_leave = False  # too late for the response that goes
        self._body_unread = False
        self._chunked = False
        self._half_open = False  # only the way up of it
        self._head_method = b""
        self._keep_alive = True
        self._options = options
        self._request_ended = True
        self._response_body: Body | None = None  # while it goes
        self._stream_info: StreamInfo | None = None
        self._tunnel = False  # it was asked for, or stands
        self._version = ""
        self.handler: RequestHandler | None = None
        self.last_active = 0.0

    # What the other half does

    def _sent(self) -> None:
        """The response is out."""
        raise NotImplementedError

    def _close_in_time(self) -> None:
        """Close after what was written."""
        raise NotImplementedError

    # Heads

    def send_informational(self, status: int, info: StreamInfo) -> None:
        if status == 100 and self._version == "HTTP/1.1":
            self.write(_CONTINUE)
            info.wire_sent += len(_CONTINUE)

    def close_after_response(self) -> None:
        """A downstream that has had the head of a response knows that the connection stays: it ends with the next."""
        if self._response_body is None:
            self._keep_alive = False
        else:
            self._asked_to_leave = True

    def send_response(self, status: int, headers: Headers, body: Body | None, info: StreamInfo) -> None:
        granted = self._tunnel and (status == 101 or (self._head_method == b"CONNECT" and 200 <= status < 300))
        if granted:
            self._begin_tunnel(status, headers, body, info)
            return
        unread = self._body_unread and not info.body_read
        if not self._request_ended or unread:
            self._keep_alive = False  # what is left of the request must never be read as the next one
            if unread:  # nobody took note of a body, as far as the log is concerned (as in Envoy)
                info.request_end = 0.0
                info.bytes_received = 0
        bodiless = self._head_method == b"HEAD" or status in _BODILESS
        framing = self._framing(status, headers, body, bodiless)
        pairs = headers.pairs
        if not self._keep_alive:
            pairs.append(_CLOSE)
        elif self._version == "HTTP/1.0":
            pairs.append(_KEEP_ALIVE)
        if framing is not None:
            pairs = [*pairs, framing]
        if self._options.proper_case:
            pairs = h1_encode.title_case(pairs)
        line = h1_encode.status_line(status, self._version)
        head = write_head(line, pairs)
        info.header_sent = len(head) - len(line) - 2
        if body is None:
            info.wire_sent += len(head)
            self.write(head)
            self._sent()
            return
        whole = None if self._chunked else body.take()
        if bodiless:
            body.detach()
            whole = b""
        if whole is not None:
            info.bytes_sent = len(whole)
            info.wire_sent += len(head) + len(whole)
            if len(whole) <= SMALL:
                self.write(head + whole)
            else:
                self.write(head)
                self.write(whole)
            self._sent()
            return
        info.wire_sent += len(head)
        self.last_active = clock.now
        self._stream_info = info
        self.write(head)
        self._response_body = body
        if self.write_blocked:
            body.hold()
        body.pipe_to(self)

    def _begin_tunnel(self, status: int, headers: Headers, body: Body | None, info: StreamInfo) -> None:
        """From now on it is bytes both ways."""
        self._keep_alive = False
        self._chunked = False
        pairs = headers.pairs
        if self._options.proper_case:
            pairs = h1_encode.title_case(pairs)
        line = h1_encode.status_line(status, self._version)
        head = write_head(line, pairs)
        info.header_sent = len(head) - len(line) - 2
        info.wire_sent += len(head)
        self._stream_info = info
        self.last_active = clock.now
        self.write(head)
        if body is None:
            self._sent()
            return
        self._response_body = body
        if self.write_blocked:
            body.hold()
        body.pipe_to(self)

    def _half_closes(self) -> bool:
        """It is a CONNECT that was granted: each way ends by itself (RFC 9110 9.3.6). TLS has no half-closed state."""
        standing = self._response_body is not None or self._half_open
        return standing and self._tunnel and self._head_method == b"CONNECT" and not self.encrypted

    def _framing(self, status: int, headers: Headers, body: Body | None, bodiless: bool) -> Pair | None:
        """The header that tells where the response ends, if it does not say so itself (RFC 9112 6.3)."""
        self._chunked = False
        if b"content-length" in headers.index:
            if status == 204:  # RFC 9110 8.6
                headers.remove(b"content-length")
            return None
        if status in _BODILESS:
            return None
        if body is None and not bodiless:
            return _NO_LENGTH
        if self._version == "HTTP/1.0":
            self._keep_alive = False  # the end of the connection is the end of the body
            return None
        self._chunked = not bodiless
        return _CHUNKED

    def on_data(self, chunk: bytes) -> None:
        info = self._stream_info
        assert info is not None
        size = len(chunk)
        info.bytes_sent += size
        self.last_active = clock.now
        if not self._chunked:
            info.wire_sent += size
            self.write(chunk)
        elif size <= SMALL:
            framed = b"%x\r\n%b\r\n" % (size, chunk)
            info.wire_sent += len(framed)
            self.write(framed)
        else:
            for piece in h1_encode.chunk(chunk):
                info.wire_sent += len(piece)
                self.write(piece)

    def on_end(self, trailers: Trailers | None) -> None:
        if self._chunked:
            last = h1_encode.last_chunk(trailers if self._options.trailers else None)
            self.write(last)
            if self._stream_info is not None:
                self._stream_info.wire_sent += len(last)
                self._stream_info.header_sent += len(last) - len(h1_encode.LAST_CHUNK)
                self._stream_info.response_trailers = trailers
        elif self._half_closes() and not self._request_ended:
            self._half_open = True
            self._response_body = None
            self.shutdown_write()
            return
        self._sent()

    def on_abort(self, error: ProxyError) -> None:
        """The response broke off: the downstream must be able to tell, so the connection ends without a terminator."""
        self._response_body = None
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.on_downstream_reset(error)
        if self._chunked or self._version == "HTTP/1.1":
            self._close_in_time()
        else:
            self.abort()
