"""HTTP/2 on the connection of a health check: one request at a time, its answer as a whole."""

from __future__ import annotations

from typing import Any

from pyproxy.clusters.health_checks.probe import Probe
from pyproxy.config.cluster import UpstreamHttpOptions
from pyproxy.http.engines import new_session
from pyproxy.http.h2_guard import FrameGuard
from pyproxy.http.h2_head import status_of
from pyproxy.http.h2_session import DATA, GOAWAY, HEADERS, MALFORMED, TRAILERS, WHOLE, Event, SessionOptions
from pyproxy.http.message import Headers, Pair


class H2Answer:
    """What came back. `trailers` is None where the head or the body was the end."""

    __slots__ = ("body", "headers", "status", "trailers")

    def __init__(self) -> None:
        self.status = 0
        self.headers = Headers()
        self.body = b""
        self.trailers: Headers | None = None


class H2Exchange:
    """`ask` raises OSError where the stream or the connection ends before the answer does."""

    def __init__(self, probe: Probe, options: UpstreamHttpOptions) -> None:
        self._session = new_session(SessionOptions(), server=False)
        self._guard = FrameGuard(options.http2, options.max_response_headers_kb, server=False)
        self._stream = 0
        self._limit = 0
        self._answer = H2Answer()
        self._broken = False
        self.probe = probe
        self.leaving = False
        """The host takes no further requests on this connection."""
        probe.unasked = self._unasked

    async def ask(self, pairs: list[Pair], body: bytes, limit: int) -> H2Answer:
        """At most `limit` bytes of the answer's body are kept."""
        self._answer, self._limit = H2Answer(), limit
        self._stream = self._session.request(pairs, body, True)
        if not self._stream:
            raise ConnectionResetError("the connection takes no further requests")
        await self.probe.ask(self._said(), self._receive)
        self._stream = 0
        if self._broken:
            raise ConnectionResetError("the stream ended before the answer did")
        return self._answer

    def _receive(self, data: bytes) -> bool:
        """Whether the answer is over, or will never be."""
        done = False
        for event in self._take(data):
            done |= self._on_event(event)
        session = self._session
        for number, _ in session.closed:
            if number == self._stream and not done:
                self._broken = done = True
        session.closed = []
        if self._guard.violation or session.error >= 0:
            self.leaving = True
            self._broken |= not done
            done = True
        self.probe.write(self._said())
        return done

    def _unasked(self, data: bytes) -> None:
        """SETTINGS, PING or GOAWAY between two checks."""
        self._receive(data)
        if self._broken or self.leaving:
            self.probe.abort()

    def _take(self, data: bytes) -> list[Event]:
        guard, session = self._guard, self._session
        if not self.probe.unsent():
            guard.all_read()
        fit = guard.scan(data, session.data_frames)
        return session.receive(data if fit == len(data) else data[:fit])

    def _on_event(self, event: Event) -> bool:
        kind, number, what, ended = event
        if kind == GOAWAY:
            self.leaving = True
        if number != self._stream:
            return False
        if kind == MALFORMED:
            self._broken = True
            return True
        answer = self._answer
        if kind == WHOLE:
            pairs, body, trailers = what
            self._head(pairs)
            self._keep(body or b"")
            answer.trailers = None if trailers is None else Headers(trailers)
            return True
        if kind == HEADERS:
            return self._head(what) and ended
        if kind == DATA:
            self._session.consume(number, len(what))
            self._keep(what)
        elif kind == TRAILERS:
            answer.trailers = Headers(what)
        return ended

    def _head(self, pairs: Any) -> bool:
        """False for an interim one."""
        status = status_of(pairs)
        if status >= 200:
            self._answer.status = status
            self._answer.headers = Headers(pairs[1:])
        return status >= 200

    def _keep(self, data: bytes) -> None:
        self._answer.body += data[: max(0, self._limit - len(self._answer.body))]

    def _said(self) -> bytes:
        """What the session wants to say."""
        said = b""
        while data := self._session.pull():
            said += data
        return said
