"""An upstream HTTP/2 connection, which carries many requests at a time, and one stream of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pyproxy import clock
from pyproxy.clusters import h2_failures
from pyproxy.clusters.one_try import Try
from pyproxy.errors import ProxyError
from pyproxy.http.body import Body, Trailers
from pyproxy.http.h2_connection import H2Connection
from pyproxy.http.h2_guard import FrameGuard
from pyproxy.http.h2_head import CONNECT, block_size, request_pairs, status_of
from pyproxy.http.h2_keepalive import Keepalive
from pyproxy.http.h2_session import (
    CANCEL,
    DATA,
    GOAWAY,
    HEADERS,
    MALFORMED,
    NO_ERROR,
    PONG,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS,
    TRAILERS,
    WHOLE,
    Event,
)
from pyproxy.http.message import Headers, Pair, Response
from pyproxy.network.connection import Connection, Peer
from pyproxy.network.cork import Cork
from pyproxy.tasks import Deadlines

if TYPE_CHECKING:
    from pyproxy.clusters.conn_pool import ConnectionPool

_FRAME: Final = 9
_MOST_REQUESTS: Final = (1 << 30) - 1
"""Then there are no numbers left for streams."""


class H2UpstreamStream:
    """One try on its stream: the sink of the request's body and the source of the response's."""

    __slots__ = ("_body", "_held", "_responded", "_unconsumed", "attempt", "connection", "number", "request_ended")

    def __init__(self, connection: H2Upstream, attempt: Try) -> None:
        self._body: Body | None = None
        self._held = False
        self._responded = False  # a tunnel, of which the way up goes on
        self._unconsumed = 0
        self.connection = connection
        self.attempt: Try | None = attempt
        self.number = 0
        self.request_ended = True

    # Sending

    def on_data(self, chunk: bytes) -> None:
        attempt = self.attempt
        if attempt is None:
            return
        attempt.info.wire_sent += len(chunk) + _FRAME
        connection = self.connection
        fine: bool = connection.session.send_data(self.number, chunk, False)
        connection.mark()
        if not fine and attempt.request.body is not None:
            attempt.request.body.hold()

    def on_end(self, trailers: Trailers | None) -> None:
        attempt, connection = self.attempt, self.connection
        self.request_ended = True
        if attempt is None:
            return
        if trailers:
            connection.session.send_trailers(self.number, trailers)
            attempt.info.wire_sent += block_size(trailers) + _FRAME
        else:
            connection.session.send_data(self.number, b"", True)
        connection.mark()
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
        attempt = self.attempt
        self.give_up()
        if attempt is not None:
            attempt.connection_failed(error)

    def on_drained(self) -> None:
        attempt = self.attempt
        if attempt is not None and attempt.request.body is not None and not self.request_ended:
            attempt.request.body.release()

    # Receiving

    def on_head(self, pairs: list[Pair], data: bytes | None, trailers: Trailers | None, *, ended: bool) -> None:
        """`data` is the whole body, where it came with the head."""
        attempt = self.attempt
        if attempt is None:
            return
        info = attempt.info
        if attempt.request.info.logged:
            info.header_received += block_size(pairs)
        info.wire_received += _FRAME
        status = status_of(pairs)
        if status < 200:
            info.interim = True
            attempt.cluster.count_interim(status, internal=attempt.request.info.internal)
            return
        info.response_first = clock.now
        headers = Headers(pairs[1:])
        if status == 200 and attempt.request.upgrade and attempt.request.upgrade != CONNECT:
            status = 101  # as an upgrade of HTTP/1 is granted
            headers.add(b"upgrade", attempt.request.upgrade)
            headers.add(b"connection", b"upgrade")
        if ended:
            body = None if data is None else Body.complete(data, trailers)
            attempt.response = Response(status, headers, body)
            if data is not None:
                info.wire_received += len(data) + _FRAME
            if trailers:
                self._on_trailers(trailers, attempt)
            self._done(attempt)
        else:
            self._body = body = Body(self, self.connection.buffer_limit)
            attempt.response = Response(status, headers, body)
        attempt.wake()

    def on_response_data(self, data: bytes, *, ended: bool) -> None:
        connection, size, body = self.connection, len(data), self._body
        if self.attempt is not None:
            self.attempt.info.wire_received += size + _FRAME
        if size:
            if body is not None:
                body.feed(data)
            if self._held:
                self._unconsumed += size
            else:
                connection.session.consume(self.number, size)
        if ended:
            self.on_response_end(None)

    def on_response_end(self, trailers: Trailers | None) -> None:
        attempt = self.attempt
        body, self._body = self._body, None
        if attempt is None:
            return
        if trailers:
            self._on_trailers(trailers, attempt)
        self._done(attempt)
        if body is not None:
            body.end(trailers)

    def _on_trailers(self, trailers: Trailers, attempt: Try) -> None:
        if attempt.request.info.logged:
            attempt.info.header_received += block_size(trailers)
        host = attempt.pool.host
        if host.load is not None:
            host.load.trailers(trailers)

    def _done(self, attempt: Try) -> None:
        """The response is complete."""
        attempt.info.response_last = clock.now
        if not self.request_ended and attempt.request.half_closes:
            self._responded = True
            return
        self._finish(attempt)

    def _finish(self, attempt: Try) -> None:
        self.attempt = None
        attempt.connection = None
        if not self.request_ended:
            if attempt.request.body is not None:
                attempt.request.body.detach()
            self.connection.counts.tx_reset += 1
            self.connection.session.reset(self.number, NO_ERROR)
            self.connection.mark()
        attempt.settle()

    def pause_reading(self) -> None:
        self._held = True

    def resume_reading(self) -> None:
        self._held = False
        size, self._unconsumed = self._unconsumed, 0
        if size:
            self.connection.session.consume(self.number, size)
            self.connection.mark()

    def cancel_body(self, error: ProxyError) -> None:
        """The downstream no longer wants the response."""
        attempt = self.attempt
        if attempt is not None:
            attempt.fail(error)

    def give_up(self) -> None:
        """The try was ended by our side."""
        self.attempt = None
        self._body = None
        self.connection.counts.tx_reset += 1
        self.connection.session.reset(self.number, CANCEL)
        self.connection.mark()

    def fail(self, error: ProxyError) -> None:
        """There will be no response, or no more of it."""
        attempt, self.attempt = self.attempt, None
        self._body = None
        if attempt is None:
            return
        body = attempt.request.body
        if not self.request_ended and body is not None and attempt.response is None:
            body.hold()
        attempt.connection_failed(error)
        if self._responded and body is not None:
            body.cancel(error)

    @property
    def has_head(self) -> bool:
        return self._body is not None or self._responded


class H2Upstream(H2Connection):
    """One connection to one host; the pool gives it requests as long as there is room."""

    __slots__ = (
        "_most",
        "busy",
        "closed_by_us",
        "connection_id",
        "created",
        "idle_since",
        "keepalive",
        "leaving",
        "local_address",
        "pool",
        "requests",
        "streams",
    )

    def __init__(self, cork: Cork, session: Any, guard: FrameGuard, pool: ConnectionPool, connection_id: int) -> None:
        super().__init__(cork, session, guard, pool.cluster.h2.counts)
        self.limit_buffers(pool.cluster.config.buffer_limit)
        self._most = pool.options.http2.max_concurrent_streams
        self.pool = pool
        self.connection_id = connection_id
        self.created = clock.now
        self.idle_since = clock.now
        self.local_address: Peer = ("", 0)
        self.requests = 0
        self.streams: dict[int, H2UpstreamStream] = {}
        self.leaving = False
        """It takes no further requests, and closes after those that it has."""
        self.busy = False
        """It carried a request when it ended."""
        self.closed_by_us = False
        self.keepalive: Keepalive | None = None

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

    def begin(self) -> None:
        """Say hello: it is clear that HTTP/2 is spoken."""
        self.counts.connections += 1
        options = self.pool.options.http2.keepalive
        if options is not None:
            self.keepalive = Keepalive(self.pool.cluster.loop, options, self._ping, self._dead)
        self.mark()

    @property
    def has_room(self) -> bool:
        room: int = self.session.room()
        return len(self.streams) < min(room, self._most)

    def start(self, attempt: Try) -> None:
        """Send a request. The body follows by itself."""
        request, info, pool = attempt.request, attempt.info, self.pool
        keepalive = self.keepalive
        if keepalive is not None and not self.streams:
            keepalive.after_silence(clock.now - self.idle_since)
        stream = H2UpstreamStream(self, attempt)
        body = request.body
        pairs = request_pairs(request)
        number: int = self.session.request(pairs, b"", body is None)
        if not number:
            self.leave()
            attempt.connection_failed(h2_failures.refused())
            return
        stream.number = number
        self.streams[number] = stream
        self.counts.streams += 1
        attempt.connection = stream
        self.requests += 1
        if self.requests >= _MOST_REQUESTS:
            self.leave()
        pool.rq_total.value += 1  # only what gets a connection counts (Envoy)
        pool.host.rq_total += 1
        for one in attempt.request.info.counted:
            one.upstream_rq_total.value += 1
        info.local = self.local_address
        if pool.host.also:
            info.remote = self.peer()
        info.connection_id = self.connection_id
        info.protocol = "HTTP/2"
        if request.info.logged:
            info.header_sent = block_size(pairs)
        info.wire_sent = info.header_sent + _FRAME
        info.pool_ready = info.request_sent_first = clock.now
        self.mark()
        if attempt.timers is not None:
            attempt.timers.connected()
        if body is None:
            info.request_sent_last = clock.now
        else:
            stream.request_ended = False
            body.pipe_to(stream)

    # What comes

    def on_events(self, events: list[Event]) -> None:
        streams = self.streams
        for kind, number, what, ended in events:
            if kind == WHOLE:
                pairs, data, trailers = what
                if trailers is not None:
                    self.counts.trailers += 1
                stream = streams.get(number)
                if stream is not None:
                    stream.on_head(pairs, data, trailers, ended=True)
            elif kind == HEADERS:
                stream = streams.get(number)
                if stream is not None:
                    stream.on_head(what, None, None, ended=ended)
            elif kind == DATA:
                stream = streams.get(number)
                if stream is not None:
                    stream.on_response_data(what, ended=ended)
            elif kind == TRAILERS:
                self.counts.trailers += 1
                stream = streams.get(number)
                if stream is not None:
                    stream.on_response_end(what)
            elif kind == MALFORMED:
                self.guard.reset_sent()
                self.counts.rx_messaging_error += 1
                self.counts.tx_reset += 1
                self.pool.cluster.stats.upstream_cx_protocol_error.value += 1
                stream = streams.get(number)
                if stream is not None:
                    stream.fail(h2_failures.protocol_failure(after=stream.has_head))
            elif kind == GOAWAY:
                self.pool.cluster.stats.upstream_cx_close_notify.value += 1
                self.leave()
            elif kind == SETTINGS:
                self.pool.has_room(self)
            elif kind == PONG and self.keepalive is not None:
                self.keepalive.answered()

    def on_streams_closed(self, closed: list[tuple[int, int]]) -> None:
        for number, code in closed:
            stream = self.streams.pop(number, None)
            if stream is not None:
                self.counts.streams -= 1
                if code == REFUSED_STREAM:
                    self.counts.stream_refused_errors += 1
            if stream is not None and stream.attempt is not None:
                self._count_reset(code)
                stream.fail(h2_failures.reset(code, after=stream.has_head))
        if not self.streams:
            self.idle_since = clock.now
            if self.leaving:
                self._end()
                return
        self.pool.has_room(self)

    def _count_reset(self, code: int) -> None:
        if code != PROTOCOL_ERROR:
            self.pool.cluster.stats.upstream_rq_rx_reset.value += 1

    def on_drained(self, streams: list[int]) -> None:
        for number in streams:
            stream = self.streams.get(number)
            if stream is not None:
                stream.on_drained()

    # How it ends

    def leave(self) -> None:
        """No further requests."""
        if not self.leaving:
            self.leaving = True
            self.pool.leaves(self)
        if not self.streams:
            self._end()

    def _end(self) -> None:
        if not self.closed:
            self.closed_by_us = True
            self.close()

    def on_violation(self) -> None:
        """What the upstream sends is not what HTTP/2 allows."""
        self._break()

    def on_finished(self) -> None:
        if self.session.error >= 0:
            self._break()
        else:
            self._end()

    def _break(self) -> None:
        self.pool.cluster.stats.upstream_cx_protocol_error.value += 1
        self.busy = bool(self.streams)
        self.closed_by_us = True
        streams, self.streams = self.streams, {}
        self.counts.streams -= len(streams)
        self.close()
        for stream in streams.values():
            stream.fail(h2_failures.protocol_failure(after=stream.has_head))

    def _ping(self, payload: bytes) -> None:
        self.session.ping(payload)
        self.guard.asked()
        self.mark()

    def _dead(self) -> None:
        """It has not answered a PING in time."""
        self.counts.keepalive_timeout += 1
        self.busy = bool(self.streams)
        self.closed_by_us = True
        self.abort()

    def on_deadline(self, deadlines: Deadlines) -> None:
        """The idle clock: it is not restarted by each request, so look how long it has really been."""
        if self.streams:
            deadlines.arm(self)
            return
        left = self.idle_since + deadlines.seconds - clock.now
        if left > 0.001:
            deadlines.arm_early(self, left)
            return
        self.pool.cluster.stats.upstream_cx_idle_timeout.value += 1
        self._end()

    def on_eof(self) -> bool:
        return False

    def on_closed(self, error: Exception | None) -> None:
        if self.keepalive is not None:
            self.keepalive.stop()
        streams, self.streams = self.streams, {}
        self.counts.streams -= len(streams)
        self.busy = self.busy or bool(streams)
        self.leaving = True
        self.pool.connection_closed(self)
        for stream in streams.values():
            stream.fail(h2_failures.terminated(after=stream.has_head))

    def __repr__(self) -> str:
        state = "closed" if self.closed else "leaving" if self.leaving else "open"
        return f"<H2Upstream {self.connection_id} {state}, {len(self.streams)} streams, {self.requests} requests>"
