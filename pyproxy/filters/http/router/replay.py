"""A request body that can be sent more than once: what has come of it is kept, within a limit.

It stands between the body that the downstream feeds and one body for each try. While no try is under way the
downstream is held, rather than what it sends be dropped (Envoy answers 507 in that case).
"""

from __future__ import annotations

from collections.abc import Callable

from pyproxy.errors import ProxyError
from pyproxy.http.body import Body, Trailers


class Replay:
    """Both a sink, of the downstream's body, and a source, of those of the tries.

    `limit` is in bytes. When more has come it can no longer be sent again: `on_lost` is called, once.
    """

    __slots__ = (
        "_chunks",
        "_current",
        "_downstream",
        "_ended",
        "_error",
        "_held",
        "_limit",
        "_trailers",
        "on_lost",
        "size",
    )

    def __init__(self, downstream: Body, limit: int, on_lost: Callable[[], None]) -> None:
        self._downstream = downstream
        self._limit = limit
        self.on_lost = on_lost
        self._chunks: list[bytes] = []
        self.size = 0
        self._trailers: Trailers | None = None
        self._ended = False
        self._held = False
        self._error: ProxyError | None = None
        self._current: Body | None = None
        downstream.pipe_to(self)

    def begin(self) -> Body:
        """The body for another try, from its first byte."""
        body = Body(self)
        for chunk in self._chunks:
            body.feed(chunk)
        self._current = body
        if self._error is not None:
            body.abort(self._error)
        elif self._ended:
            body.end(self._trailers)
        self._check()
        if self._held and not body.stopped:
            self.resume_reading()
        return body

    def pause(self) -> None:
        """The try is over. What comes meanwhile is kept for the next."""
        self._current = None

    @property
    def whole(self) -> bool:
        """All of the body is here and can be sent again."""
        return self._ended and self._limit >= 0 and self._error is None

    # What the downstream sends

    def on_data(self, chunk: bytes) -> None:
        if self._limit >= 0:
            self._chunks.append(chunk)
            self.size += len(chunk)
            self._check()
        if self._current is not None:
            self._current.feed(chunk)
        elif self.size >= self._limit:
            self.pause_reading()

    def on_end(self, trailers: Trailers | None) -> None:
        self._ended = True
        self._trailers = trailers
        if self._current is not None:
            self._current.end(trailers)

    def on_abort(self, error: ProxyError) -> None:
        self._error = error
        if self._current is not None:
            self._current.abort(error)

    def _check(self) -> None:
        """Too much: from now on chunks only pass through."""
        if self._current is not None and 0 <= self._limit < self.size:
            self._limit = -1
            self._chunks = []
            self.on_lost()

    # What a try asks for

    def pause_reading(self) -> None:
        self._held = True
        self._downstream.hold()

    def resume_reading(self) -> None:
        if self._held:
            self._held = False
            self._downstream.release()

    def cancel_body(self, error: ProxyError) -> None:
        self._downstream.cancel(error)

    def __repr__(self) -> str:
        return f"<Replay {self.size} bytes{', lost' if self._limit < 0 else ''}{', ended' if self._ended else ''}>"
