"""A request body that goes to several: the one that counts sets the pace, the copies keep up or are given up."""

from __future__ import annotations

from pyproxy.errors import ProxyError, Source
from pyproxy.http.body import Body, Trailers

BEHIND = ProxyError(None, Source.LOCAL, 0, "shadow_too_slow")


class Tee:
    """Sink of the downstream's body, source of `main`. A copy that lets more than `limit` bytes wait is broken off."""

    __slots__ = ("_copies", "_downstream", "_limit", "main")

    def __init__(self, downstream: Body, limit: int) -> None:
        self._downstream = downstream
        self._limit = limit
        self._copies: list[Body] = []
        self.main = Body(self)

    def copy(self) -> Body:
        """One more body; all of them are made before `begin`."""
        body = Body(_Patience(), self._limit)
        self._copies.append(body)
        return body

    def begin(self) -> None:
        self._downstream.pipe_to(self)

    # What the downstream sends

    def on_data(self, chunk: bytes) -> None:
        self.main.feed(chunk)
        for body in list(self._copies):
            body.feed(chunk)
            if body.stopped:
                self._copies.remove(body)
                body.abort(BEHIND)

    def on_end(self, trailers: Trailers | None) -> None:
        self.main.end(trailers)
        for body in self._copies:
            body.end(trailers)

    def on_abort(self, error: ProxyError) -> None:
        self.main.abort(error)
        for body in self._copies:
            body.abort(error)

    # What `main` asks for

    def pause_reading(self) -> None:
        self._downstream.hold()

    def resume_reading(self) -> None:
        self._downstream.release()

    def cancel_body(self, error: ProxyError) -> None:
        self._downstream.cancel(error)


class _Patience:
    """The source of a copy: cannot be slowed."""

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def cancel_body(self, error: ProxyError) -> None:
        pass
