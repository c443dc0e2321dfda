"""A downstream HTTP/2 connection: many requests at a time (RFC 9113)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from pyproxy import clock
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.http import downstream_errors
from pyproxy.http.body import Body
from pyproxy.http.codec import CodecError
from pyproxy.http.h2_connection import H2Connection
from pyproxy.http.h2_counts import H2Counts
from pyproxy.http.h2_guard import FrameGuard
from pyproxy.http.h2_head import request_head
from pyproxy.http.h2_keepalive import Keepalive
from pyproxy.http.h2_session import (
    CANCEL,
    DATA,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    MALFORMED,
    NO_ERROR,
    PONG,
    PROTOCOL_ERROR,
    TRAILERS,
    WHOLE,
    Event,
    Malformed,
)
from pyproxy.http.h2_stream import H2DownstreamStream, trailers_of
from pyproxy.http.message import Pair
from pyproxy.http.stream import RequestHandler, StreamAcceptor
from pyproxy.http.stream_info import ConnectionInfo
from pyproxy.network.connection import Connection
from pyproxy.network.cork import Cork
from pyproxy.tasks import Deadlines

MANY_STREAMS: Final = 500
"""Of so many streams of a connection no more than half may be reset soon after they began (CVE-2023-44487)."""

_MOST_IGNORED: Final = 1024 * 1024
"""Bytes that may have been on their way when a connection ended, by the window that it had."""

SOON: Final = 1.0
"""Seconds (Envoy: overload.premature_reset_min_stream_lifetime_seconds)."""


log = logging.getLogger("pyproxy.http2")

KeepaliveMaker = Callable[[Callable[[bytes], None], Callable[[], None]], Keepalive]
"""Makes the keepalive of one connection, from how it sends a PING and what it does when the peer is dead."""


@dataclass(frozen=True, slots=True)
class H2DownstreamOptions:
    """How a connection behaves. Deadlines are None where the timeout is off.

    `stream_errors`: a malformed message ends its stream only. `max_requests` 0 is no limit.
    """

    idle: Deadlines | None = None
    stream_idle: Deadlines | None = None
    request_headers: Deadlines | None = None
    delayed_close: Deadlines | None = None
    max_duration: Deadlines | None = None
    drain: Deadlines | None = None
    max_requests: int = 0
    stream_errors: bool = False
    keepalive: KeepaliveMaker | None = None
    trailers: bool = True
    counts: H2Counts = field(default_factory=H2Counts)


class H2Downstream(H2Connection):
    """One connection. Its requests are handled by the streams."""

    __slots__ = (
        "_acceptor",
        "_closing",
        "_draining",
        "_early_resets",
        "_ignored",
        "_options",
        "_over",
        "_unsent",
        "info",
        "keepalive",
        "last_active",
        "requests",
        "streams",
    )

    def __init__(
        self, cork: Cork, session: Any, guard: FrameGuard, acceptor: StreamAcceptor, options: H2DownstreamOptions
    ) -> None:
        super().__init__(cork, session, guard, options.counts)
        self._acceptor = acceptor
        self._options = options
        self._closing = False  # nothing is read any more
        self._draining = False  # the peer was told to go
        self._early_resets = 0
        self._over = 0  # streams that are over
        self._unsent = 0  # when the clock of the close was last looked at
        self._ignored = 0  # bytes that came after the end
        self.streams: dict[int, H2DownstreamStream] = {}
        self.info = ConnectionInfo()
        self.keepalive: Keepalive | None = None
        self.last_active = 0.0
        self.requests = 0

    def take_over(self, other: Connection, info: ConnectionInfo) -> None:
        """Be the protocol of a connection that was opened as another one, which is left with nothing."""
        self.info = info
        self.transport = other.transport
        self.encrypted = other.encrypted
        self.buffer_limit = other.buffer_limit
        self.on_gone = other.on_gone
        self.write_blocked = other.write_blocked
        self._begin()

    # The life of the connection

    def on_open(self) -> None:
        self._acceptor.on_open(self)
        self._acceptor.on_codec(self, "HTTP/2")
        self._begin()

    def _begin(self) -> None:
        self.last_active = clock.now
        self.counts.connections += 1
        options = self._options
        if options.idle is not None:
            options.idle.arm(self)
        if options.stream_idle is not None:
            options.stream_idle.arm(self)
        if options.max_duration is not None:
            options.max_duration.arm(self)
        if options.keepalive is not None:
            self.keepalive = options.keepalive(self._ping, self._dead)
        self.mark()  # our settings

    def _ping(self, payload: bytes) -> None:
        self.session.ping(payload)
        self.guard.asked()
        self.mark()

    def _dead(self) -> None:
        """The peer has not answered a PING in time."""
        self.counts.keepalive_timeout += 1
        self.abort()

    def on_eof(self) -> bool:
        return False

    def on_closed(self, error: Exception | None) -> None:
        options = self._options
        for deadlines in (
            options.idle,
            options.stream_idle,
            options.request_headers,
            options.delayed_close,
            options.max_duration,
            options.drain,
        ):
            if deadlines is not None:
                deadlines.disarm(self)
        if self.keepalive is not None:
            self.keepalive.stop()
        self._closing = True
        if self.left_by_peer:
            self.info.left = True
        streams, self.streams = self.streams, {}
        self.counts.streams -= len(streams)
        for stream in streams.values():
            stream.broken(downstream_errors.gone())
        self._acceptor.on_closed(self)

    @property
    def active(self) -> int:
        """Requests in progress."""
        return sum([1 for stream in self.streams.values() if stream.handler is not None])

    def close_after_response(self) -> None:
        """Ask the peer to leave: what it has sent meanwhile is still taken (RFC 9113 6.8)."""
        if self._draining or self._closing:
            return
        self._draining = True
        self.session.notice()
        self.mark()
        if self._options.drain is not None:
            self._options.drain.arm(self)
        else:
            self.drain()

    def drain(self) -> None:
        """Take no further requests; those in progress finish, and with the last of them the connection."""
        if self._closing:
            return
        self._draining = True
        self.counts.goaway_sent += 1
        self.session.goaway(NO_ERROR)
        self.mark()

    def on_finished(self) -> None:
        """GOAWAY went out and no stream is open. What the peer still sends must not turn our FIN into a RST."""
        if self._closing and self._unsent < 0:
            return
        self._unsent = -1
        self._closing = True
        if self.encrypted or self._options.delayed_close is None:
            self.close()
        else:
            self.shutdown_write()
        if self._options.delayed_close is not None:
            self._options.delayed_close.arm(self)

    def end(self, code: int) -> None:
        """End the connection in order: GOAWAY, then close. A peer that does not read cannot keep it open for ever."""
        if self._closing:
            return
        self._closing = True
        self.session.terminate(code)
        self.mark()
        if self._options.delayed_close is not None:
            self._options.delayed_close.arm(self)

    def on_deadline(self, deadlines: Deadlines) -> None:
        """One of the connection's timeouts. Idle clocks are not restarted by traffic: look, and wait for the rest."""
        options = self._options
        if deadlines is options.delayed_close:
            unsent = self.unsent()
            if unsent and (self._unsent <= 0 or unsent < self._unsent):
                self._unsent = unsent
                deadlines.arm(self)
            else:
                self.abort()
        elif deadlines is options.request_headers:
            if self.guard.in_block:
                self._acceptor.count("downstream_rq_header_timeout")
                self.end(NO_ERROR)
        elif deadlines is options.max_duration:
            self.close_after_response()
        elif deadlines is options.drain:
            self.drain()
        elif deadlines is options.idle:
            self._on_idle(deadlines)
        else:
            self._on_streams_idle(deadlines)

    def _on_idle(self, deadlines: Deadlines) -> None:
        if self.streams:
            deadlines.arm(self)
            return
        left = self.last_active + deadlines.seconds - clock.now
        if left <= 0.001:
            self._acceptor.count("downstream_cx_idle_timeout")
            self.end(NO_ERROR)
        else:
            deadlines.arm_early(self, left)

    def _on_streams_idle(self, deadlines: Deadlines) -> None:
        """End those on which nothing was received or sent for too long, and come back when the next may have been."""
        first = deadlines.seconds
        for stream in list(self.streams.values()):
            left = stream.last_active + deadlines.seconds - clock.now
            if left <= 0.001:
                if stream.idle:  # the peer does not take what is left of the response
                    self.counts.tx_flush_timeout += 1
                    self.reset(stream.number, CANCEL)
                else:
                    stream.give_up(downstream_errors.stream_idle(504 if stream.request_ended else 408))
            else:
                first = min(first, left)
        if self._closing:
            return
        if first >= deadlines.seconds:
            deadlines.arm(self)
        else:
            deadlines.arm_early(self, first)
        self.mark()

    # What comes

    def on_bytes(self, data: bytes) -> None:
        if self._closing:
            self._ignored += len(data)
            if self._ignored > _MOST_IGNORED:  # it has had the time to hear of the end
                self.abort()
            return
        super().on_bytes(data)
        if self.session.refused:
            self._count_refused()
        if self.guard.in_block and self._options.request_headers is not None:
            self._options.request_headers.arm_once(self)

    def on_events(self, events: list[Event]) -> None:
        for kind, number, what, ended in events:
            if kind == HEADERS:
                self._on_request(number, what, None, None, ended=ended)
            elif kind == WHOLE:
                pairs, data, trailers = what
                self._on_request(number, pairs, data, trailers, ended=True)
            elif kind == DATA:
                stream = self.streams.get(number)
                if stream is not None:
                    stream.receive(what, ended=ended)
            elif kind == TRAILERS:
                self.counts.trailers += 1
                stream = self.streams.get(number)
                if stream is not None:
                    stream.receive_end(trailers_of(what) if self._options.trailers else None)
            elif kind == MALFORMED:
                self._on_malformed(number, what)
            elif kind == GOAWAY:
                pass  # it opens no more streams, that is all
            elif kind == PONG and self.keepalive is not None:
                self.keepalive.answered()
            if self._closing:
                return

    @property
    def ended(self) -> bool:
        return self._closing

    def _on_request(
        self, number: int, pairs: list[Pair], data: bytes | None, trailers: list[Pair] | None, *, ended: bool
    ) -> None:
        """`data` is the whole body, where it came with the head."""
        head = request_head(pairs, ended=ended)
        self.requests += 1
        self.last_active = clock.now
        stream = H2DownstreamStream(self, number, head.method, self.info)
        self.streams[number] = stream
        self.counts.streams += 1
        body: Body | None = None
        if data is not None:
            head.body = data
            if trailers is not None:
                self.counts.trailers += 1
                trailers = trailers_of(trailers) if self._options.trailers else None
            body = Body.complete(data, trailers)
        elif not ended:
            body = stream.expect_body()
        if self._options.max_requests and self.requests >= self._options.max_requests and not self._draining:
            self._acceptor.count("downstream_cx_max_requests_reached")
            self.close_after_response()
        stream.handler = handler = self._acceptor.on_request(stream, head, body)
        stream.body_unread = body is not None
        handler.start()
        stream.body_unread = False

    def _on_malformed(self, number: int, why: Malformed) -> None:
        error = ProxyError(
            ResponseFlag.DOWNSTREAM_REMOTE_RESET if why.too_large else ResponseFlag.DOWNSTREAM_PROTOCOL_ERROR,
            Source.DOWNSTREAM,
            0,
            why.details,
        )
        self.guard.reset_sent()
        counts = self.counts
        if why.too_large:
            counts.header_overflow += 1
        else:
            counts.rx_messaging_error += 1
        counts.tx_reset += 1
        stream = self.streams.pop(number, None)
        if stream is not None:
            counts.streams -= 1
        if stream is None:
            # It never became a request, and is one that was reset for all that.
            self._count_end(early=True)
            refused = H2DownstreamStream(self, number, b"", self.info)
            handler: RequestHandler = self._acceptor.on_codec_error(
                refused, CodecError(0, why.details, "a malformed message"), 0
            )
            handler.on_downstream_reset(error)
        else:
            self._count_end(early=True)
            stream.broken(error)
        if not (why.too_large or self._options.stream_errors):
            self.end(PROTOCOL_ERROR)

    def on_violation(self) -> None:
        log.debug("%r ends: %s", self, self.guard.violation)
        self._acceptor.count("downstream_cx_protocol_error")
        self.end(self.guard.code)

    # How streams end

    def on_streams_sent(self, sent: list[int]) -> None:
        for number in sent:
            stream = self.streams.get(number)
            if stream is not None:
                stream.on_end_sent()

    def on_streams_closed(self, closed: list[tuple[int, int]]) -> None:
        for number, code in closed:
            self.guard.gone(number)
            stream = self.streams.pop(number, None)
            if stream is None:
                continue
            self.counts.streams -= 1
            early = code != NO_ERROR and stream.handler is not None and clock.now - stream.created < SOON
            stream.closed(code)
            self._count_end(early=early)
        if not self.streams:
            self.last_active = clock.now

    def _count_end(self, *, early: bool) -> None:
        """Whoever resets its streams as soon as it opened them makes us work for nothing."""
        self._over += 1
        if early:
            self._early_resets += 1
            if self._early_resets * 2 >= max(self._over, MANY_STREAMS) and not self._closing:
                self._acceptor.count("downstream_rq_too_many_premature_resets")
                self.end(ENHANCE_YOUR_CALM)

    def _count_refused(self) -> None:
        """Streams that were one too many, which did not get as far as to here."""
        refused, self.session.refused = self.session.refused, 0
        for _ in range(refused):
            self._count_end(early=True)

    def on_drained(self, streams: list[int]) -> None:
        for number in streams:
            stream = self.streams.get(number)
            if stream is not None:
                stream.on_drained()

    # What streams do

    def consume(self, number: int, size: int) -> None:
        self.session.consume(number, size)
        self.mark()

    def inform(self, number: int, pairs: list[Pair]) -> None:
        self.session.inform(number, pairs)
        self.mark()

    def respond(self, number: int, pairs: list[Pair], body: bytes, *, ended: bool) -> None:
        self.session.respond(number, pairs, body, ended)
        self.mark()

    def send(self, number: int, data: bytes) -> bool:
        """False where the stream has to hold."""
        fine: bool = self.session.send_data(number, data, False)
        self.mark()
        return fine

    def send_end(self, number: int) -> None:
        self.session.send_data(number, b"", True)
        self.mark()

    def send_trailers(self, number: int, trailers: list[Pair]) -> None:
        self.session.send_trailers(number, trailers)
        self.mark()

    def reset(self, number: int, code: int) -> None:
        self.counts.tx_reset += 1
        self.session.reset(number, code)
        self.mark()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "closing" if self._closing else "draining" if self._draining else "open"
        return (
            f"<H2Downstream {self.info.connection_id} {state}, {len(self.streams)} streams, {self.requests} requests>"
        )
