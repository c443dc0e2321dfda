"""An upstream HTTP/1 connection, which carries one try at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pyproxy import clock
from pyproxy.clusters.one_try import Try
from pyproxy.errors import ProxyError, ResponseFlag, Retriable, Source
from pyproxy.http import h1_encode
from pyproxy.http.body import Body, Trailers
from pyproxy.http.codec import CodecError, CodecOptions, End, ResponseDecoder, ResponseHead
from pyproxy.http.fast import write_head
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.tunnel import RawDecoder, TunnelDecoder
from pyproxy.network.connection import Connection, Peer
from pyproxy.network.cork import Cork
from pyproxy.tasks import Deadlines

if TYPE_CHECKING:
    from pyproxy.clusters.conn_pool import ConnectionPool

SMALL: Final = 4096
_CHUNKED: Final = (b"transfer-encoding", b"chunked")
_NO_LENGTH: Final = (b"content-length", b"0")
_BODILESS: Final = frozenset((b"GET", b"HEAD", b"DELETE", b"TRACE", b"CONNECT"))
"""Methods for which no content is expected, so that its absence need not be told (RFC 9110 8.6)."""
_AROUND_TARGET: Final = len(b"  HTTP/1.1\r\n") + len(b"\r\n")
"""What else of a head is no header: the rest of its start line, and the empty line."""
_BEFORE: Final = b"upstream connect error or disconnect/reset before headers. reset reason: "


class H1Upstream(Connection):
    """One connection to one host. It carries one request at a time; the pool lends it."""

    __slots__ = (
        "_body",
        "_chunked",
        "_closing",
        "_decoder",
        "_proper_case",
        "_request_ended",
        "_responded",
        "_try",
        "_tunnel",
        "_version",
        "busy",
        "closed_by_us",
        "connection_id",
        "created",
        "idle_since",
        "local_address",
        "pool",
        "requests",
    )

    def __init__(self, cork: Cork, decoder: ResponseDecoder, pool: ConnectionPool, connection_id: int) -> None:
        super().__init__(cork)
        self.limit_buffers(pool.cluster.config.buffer_limit)
        self._decoder = decoder
        self._proper_case = pool.options.header_key_format == "proper"
        self._try: Try | None = None
        self._body: Body | None = None
        self._request_ended = True
        self._version = "HTTP/1.1"  # of the last response
        self._chunked = False
        self._closing = False
        self._tunnel = False
        self._responded = False  # a tunnel, of which the way up goes on
        self.pool = pool
        self.connection_id = connection_id
        self.created = clock.now
        self.idle_since = 0.0
        self.local_address: Peer = ("", 0)
        self.requests = 0
        self.busy = False
        """It carried a request when it ended."""
        self.closed_by_us = False

    def on_open(self) -> None:
        self.local_address = self.local()
        self.pool.connected(self)

    def take_over(self, other: Connection) -> None:
        """Be the protocol of a connection that was opened as another one."""
        self.transport = other.transport
        self.encrypted = other.encrypted
        self.write_blocked = other.write_blocked
        self.local_address = self.local()
        self.transport.set_protocol(self)

    # Sending

    def start(self, attempt: Try) -> None:
        """Send a request. The body follows by itself."""
        request, info = attempt.request, attempt.info
        self._try = attempt
        attempt.connection = self
        self.requests += 1
        pool = self.pool
        pool.rq_total.value += 1  # only what gets a connection counts (Envoy)
        pool.host.rq_total += 1
        for one in attempt.request.info.counted:
            one.upstream_rq_total.value += 1
        info.local = self.local_address
        if pool.host.also:
            info.remote = self.peer()
        info.connection_id = self.connection_id
        info.protocol = self._version
        body = request.body
        pairs = request.headers.pairs
        if request.upgrade:
            self._chunked = False
            self._open_tunnel(request)
        elif body is not None:
            self._chunked = b"content-length" not in request.headers.index
            if self._chunked:
                pairs = [*pairs, _CHUNKED]
        elif request.method not in _BODILESS and b"content-length" not in request.headers.index:
            pairs = [*pairs, _NO_LENGTH]
        target = request.path or request.authority  # of a CONNECT
        if self._proper_case:
            pairs = h1_encode.title_case(pairs)
            line = h1_encode.request_line(request.method, target, request.authority, b"Host")
        else:
            line = h1_encode.request_line(request.method, target, request.authority)
        head = write_head(line, pairs)
        info.header_sent += len(head) - len(request.method) - len(target) - _AROUND_TARGET
        info.wire_sent += len(head)
        info.pool_ready = info.request_sent_first = clock.now
        self._decoder.expect(request.method)
        if not request.ends_here:
            self.write(head)
        if attempt.timers is not None:
            attempt.timers.connected()
        if body is None:
            self._request_ended = True
            info.request_sent_last = clock.now
        else:
            self._request_ended = False
            if self.write_blocked:
                body.hold()
            body.pipe_to(self)
        if request.ends_here and self._try is attempt:
            head_of_tunnel = ResponseHead()
            head_of_tunnel.status = 200
            head_of_tunnel.headers = Headers()
            head_of_tunnel.keep_alive = False
            self._on_head(head_of_tunnel, attempt)

    def _open_tunnel(self, request: Request) -> None:
        """What follows the answer is no HTTP, so the connection is not used again."""
        self._tunnel = True
        self._closing = True
        self._decoder = RawDecoder() if request.ends_here else TunnelDecoder(self._decoder, CodecOptions())

    def on_data(self, chunk: bytes) -> None:
        size = len(chunk)
        attempt = self._try
        if self._chunked:
            pieces = h1_encode.chunk(chunk)
            size += len(pieces[0]) + 2
            if size <= SMALL:
                self.write(b"".join(pieces))
            else:
                for piece in pieces:
                    self.write(piece)
        else:
            self.write(chunk)
        if attempt is not None:
            attempt.info.wire_sent += size

    def on_end(self, trailers: Trailers | None) -> None:
        if self._chunked:
            last = h1_encode.last_chunk(trailers if self.pool.options.enable_trailers else None)
            self.write(last)
            if self._try is not None:
                self._try.info.wire_sent += len(last)
                self._try.info.header_sent += len(last) - len(h1_encode.LAST_CHUNK)
        elif self._tunnel:
            self.shutdown_write()
        self._request_ended = True
        attempt = self._try
        if attempt is not None:
            attempt.info.request_sent_last = clock.now
            if attempt.request.half_closes:
                if self._responded:
                    self._finish(attempt)
                return
            if attempt.timeout_after_request is not None:
                attempt.arm(attempt.timeout_after_request)
            if attempt.timers is not None:
                attempt.timers.request_ended()

    def on_abort(self, error: ProxyError) -> None:
        """The request broke off: the upstream must not take it for complete."""
        attempt, self._try = self._try, None
        self.abort()
        if attempt is not None:
            attempt.connection_failed(error)

    def on_writable(self, writable: bool) -> None:
        attempt = self._try
        if attempt is not None and attempt.request.body is not None and not self._request_ended:
            if writable:
                attempt.request.body.release()
            else:
                attempt.request.body.hold()

    # Receiving

    def on_bytes(self, data: bytes) -> None:
        attempt = self._try
        if attempt is None:
            self._closing = self.closed_by_us = True
            self.abort()  # an upstream that talks unasked cannot be trusted with another request
            return
        attempt.info.wire_received += len(data)
        events = self._decoder.receive(data)
        for event in events:
            if self._try is not attempt:
                return  # the rest is nobody's
            if type(event) is ResponseHead:
                self._closing = self._closing or (event.ended and event.status >= 200 and event is not events[-1])
                if event.status >= 200 or (event.status == 101 and self._tunnel):
                    self._on_head(event, attempt)
                elif event.status == 101:
                    self._protocol_error(CodecError(502, "http1.codec_error", "an upgrade nobody asked for"), attempt)
                else:
                    attempt.info.interim = True
                    attempt.cluster.count_interim(event.status, internal=attempt.request.info.internal)
                    attempt.info.header_received += event.headers.size() or 3
            elif type(event) is bytes:
                if self._body is not None:
                    self._body.feed(event)
            elif type(event) is End:
                self._closing = self._closing or event is not events[-1]
                self._on_end(event.trailers, attempt)
            else:
                assert isinstance(event, CodecError)
                self._protocol_error(event, attempt)

    def _on_head(self, head: ResponseHead, attempt: Try) -> None:
        info = attempt.info
        info.response_first = clock.now
        if attempt.request.info.logged:
            info.header_received += head.headers.size() or 3
        self._version = head.version
        if not head.keep_alive:
            self._closing = True
        if head.ended:
            body = Body.complete(head.body) if head.body or head.chunked else None
            attempt.response = Response(head.status, head.headers, body)
            info.response_last = clock.now
            self._done(attempt)
        else:
            self._body = body = Body(self, self.buffer_limit)
            attempt.response = Response(head.status, head.headers, body)
        attempt.wake()

    def _on_end(self, trailers: Trailers | None, attempt: Try) -> None:
        body, self._body = self._body, None
        info = attempt.info
        info.response_last = clock.now
        if trailers:
            if attempt.request.info.logged:
                info.header_received += sum([len(name) + len(value) + 3 for name, value in trailers])
            if attempt.pool.host.load is not None:
                attempt.pool.host.load.trailers(trailers)
        self._done(attempt)
        if body is not None:
            body.end(trailers)

    def _done(self, attempt: Try) -> None:
        """The response is complete: the connection can go back to the pool before anybody else acts."""
        if not self._request_ended and attempt.request.half_closes and not self.encrypted:
            self._responded = True
        else:
            self._finish(attempt)

    def _finish(self, attempt: Try) -> None:
        self._try = None
        attempt.connection = None
        if not self._request_ended:
            self._closing = True
            if attempt.request.body is not None:
                attempt.request.body.detach()
        if self._closing:
            self.closed_by_us = True
            self.close()
        else:
            self.pool.give_back(self)
        attempt.settle()

    def _protocol_error(self, error: CodecError, attempt: Try) -> None:
        self._try = None
        self.busy = self.closed_by_us = True
        self.pool.cluster.stats.upstream_cx_protocol_error.value += 1
        body, self._body = self._body, None
        self.abort()
        after = body is not None
        attempt.connection_failed(_protocol_failure(error, after_headers=after))

    def on_deadline(self, deadlines: Deadlines) -> None:
        """The idle clock: it is not restarted by each request, so look how long it has really been."""
        if self._try is None:
            left = self.idle_since + deadlines.seconds - clock.now
            if left <= 0.001:
                self.closed_by_us = True
                self.pool.cluster.stats.upstream_cx_idle_timeout.value += 1
                self.close()
                return
            deadlines.arm_early(self, left)
        else:
            deadlines.arm(self)

    def cancel_body(self, error: ProxyError) -> None:
        """The downstream no longer wants the response."""
        attempt = self._try
        if attempt is not None:
            attempt.fail(error)

    def give_up(self) -> None:
        """The try was ended by our side: the connection cannot be used again."""
        self.busy = self.closed_by_us = True
        self._try = None
        self._body = None
        self._closing = True
        self.abort()

    def on_eof(self) -> bool:
        attempt = self._try
        if attempt is not None:
            for event in self._decoder.receive_eof():
                if type(event) is End:
                    self._closing = True
                    self._on_end(None, attempt)
                elif isinstance(event, CodecError):
                    self._protocol_error(event, attempt)
                    self.closed_by_us = False  # the upstream was the first
        if self._responded:
            return True
        if self._try is not None:
            self.abort()  # whatever of the request is still to be sent
        return False

    def on_closed(self, error: Exception | None) -> None:
        attempt, self._try = self._try, None
        body, self._body = self._body, None
        self.busy = self.busy or attempt is not None
        self.pool.connection_closed(self)
        if attempt is None:
            return
        attempt.connection = None
        if not self._request_ended and attempt.request.body is not None and attempt.response is None:
            attempt.request.body.hold()
        reused = self.requests > 1 and attempt.info.wire_received == 0
        after_headers = body is not None or self._responded
        failure = _broken(after_headers=after_headers, after_interim=attempt.info.interim, reused=reused)
        attempt.connection_failed(failure)
        if self._responded and attempt.request.body is not None:
            attempt.request.body.cancel(failure)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "busy" if self._try else "idle"
        return f"<H1Upstream {self.connection_id} {state}, {self.requests} requests>"


def _broken(*, after_headers: bool, after_interim: bool, reused: bool) -> ProxyError:
    when = "after" if after_headers or after_interim else "before"
    return ProxyError(
        ResponseFlag.UPSTREAM_PROTOCOL_ERROR if after_headers else ResponseFlag.UPSTREAM_CONNECTION_TERMINATION,
        Source.UPSTREAM,
        503,
        f"upstream_reset_{when}_response_started{{{'protocol_error' if after_headers else 'connection_termination'}}}",
        body=_BEFORE + b"connection termination",
        retriable=Retriable.IF_REUSED if reused and not after_headers else Retriable.NEVER,
    )


def _protocol_failure(error: CodecError, *, after_headers: bool) -> ProxyError:
    when = "after" if after_headers else "before"
    return ProxyError(
        ResponseFlag.UPSTREAM_PROTOCOL_ERROR,
        Source.UPSTREAM,
        502,
        f"upstream_reset_{when}_response_started{{protocol_error}}",
        body=_BEFORE + b"protocol error",
    )
