"""A body that comes from another one and is looked at, or changed, on its way.

Holding goes from the new body back to the old one, and so does giving up.
"""

from __future__ import annotations

from pyproxy.errors import ProxyError
from pyproxy.http.body import HIGH_WATERMARK, Body, Trailers


class Through:
    """Sink of `source`, source of `body`. Subclasses override `on_data` and `on_end`, and feed and end `body`."""

    __slots__ = ("body", "source")

    def __init__(self, source: Body, watermark: int = HIGH_WATERMARK) -> None:
        self.source = source
        self.body = Body(self, watermark)

    def begin(self) -> Body:
        """Start. What is here already has gone through when this returns, if it is the whole body."""
        self.source.pipe_to(self)
        return self.body

    # What the source brings

    def on_data(self, chunk: bytes) -> None:
        self.body.feed(chunk)

    def on_end(self, trailers: Trailers | None) -> None:
        self.body.end(trailers)

    def on_abort(self, error: ProxyError) -> None:
        self.body.abort(error)

    # What the consumer wants

    def pause_reading(self) -> None:
        self.source.hold()

    def resume_reading(self) -> None:
        self.source.release()

    def cancel_body(self, error: ProxyError) -> None:
        self.source.cancel(error)
