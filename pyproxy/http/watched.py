"""As `through.Through`, for classes that are not compiled: those cannot inherit from one that is.

For what looks at bodies seldom, so that it need not be compiled.
"""

from __future__ import annotations

from pyproxy.errors import ProxyError
from pyproxy.http.body import Body, Trailers


class Watched:
    """Sink of `source`, source of `body`. Subclasses override `on_data` and `on_end`, and feed and end `body`."""

    def __init__(self, source: Body) -> None:
        self.source = source
        self.body = Body(self)

    def begin(self) -> Body:
        """Start. What is here already has gone through when this returns, if it is the whole body."""
        self.source.pipe_to(self)
        return self.body

    def on_data(self, chunk: bytes) -> None:
        self.body.feed(chunk)

    def on_end(self, trailers: Trailers | None) -> None:
        self.body.end(trailers)

    def on_abort(self, error: ProxyError) -> None:
        self.body.abort(error)

    def pause_reading(self) -> None:
        self.source.hold()

    def resume_reading(self) -> None:
        self.source.release()

    def cancel_body(self, error: ProxyError) -> None:
        self.source.cancel(error)
