"""Bodies: one-way pipes with watermarks.

Chunks go from the connection that reads them to the sink by plain calls, never through a task. When the sink
cannot take more, or more than `HIGH_WATERMARK` bytes wait for a sink, the source stops reading its socket: a
slow reader slows the sender, and memory stays bounded.
"""

from __future__ import annotations

from typing import Final, Protocol

from pyproxy.errors import ProxyError
from pyproxy.http.message import Pair

Trailers = list[Pair]

HIGH_WATERMARK: Final = 64 * 1024
"""Bytes that may wait in a pipe before its source is paused."""


class Source(Protocol):
    """Where a body comes from: it can be told to hold."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def cancel_body(self, error: ProxyError) -> None:
        """The consumer has given the body up: what brings it may be ended."""


class Sink(Protocol):
    """Where a body goes to."""

    def on_data(self, chunk: bytes) -> None: ...

    def on_end(self, trailers: Trailers | None) -> None: ...

    def on_abort(self, error: ProxyError) -> None: ...


class Body:
    """One body. The producer calls `feed`, then `end` or `abort` once; the consumer calls `pipe_to` once."""

    __slots__ = (
        "_chunks",
        "_draining",
        "_held",
        "_sink",
        "_source",
        "_waiting",
        "_watermark",
        "ended",
        "error",
        "stopped",
        "trailers",
    )

    def __init__(self, source: Source | None = None, watermark: int = HIGH_WATERMARK) -> None:
        self._source = source
        self._watermark = watermark
        self._sink: Sink | None = None
        self._chunks: list[bytes] = []
        self._waiting = 0
        self._draining = False
        self._held = False  # by the consumer
        self.stopped = False
        """The source was told to hold."""
        self.ended = False
        self.trailers: Trailers | None = None
        self.error: ProxyError | None = None

    @staticmethod
    def complete(data: bytes, trailers: Trailers | None = None) -> Body:
        """A body of which everything is there already."""
        body = Body()
        if data:
            body._chunks.append(data)
            body._waiting = len(data)
        body.ended = True
        body.trailers = trailers
        return body

    # Producer

    def feed(self, chunk: bytes) -> None:
        if not chunk:  # in chunked framing that would be the end
            return
        if self._sink is not None and not self._held and not self._draining:
            self._sink.on_data(chunk)
            return
        self._chunks.append(chunk)
        self._waiting += len(chunk)
        if self._waiting > self._watermark:
            self._stop_source()

    def end(self, trailers: Trailers | None = None) -> None:
        self.ended = True
        self.trailers = trailers
        self._start_source()  # it may have other things to read now
        self._source = None
        sink = self._sink
        if sink is not None and not self._chunks and not self._held and not self._draining:
            self._sink = _NOWHERE
            sink.on_end(trailers)

    def abort(self, error: ProxyError) -> None:
        """The source failed: what waits is dropped and the sink is told. Does nothing once it has ended or failed."""
        if self.error is not None or (self.ended and not self._chunks):
            return
        self.error = error
        self.ended = False
        self._source = None
        self._chunks.clear()
        self._waiting = 0
        if self._sink is not None:
            self._sink.on_abort(error)

    # Consumer

    def take(self) -> bytes | None:
        """The whole body if all of it is here and nobody has taken it, else None."""
        if not self.ended or self._sink is not None:
            return None
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        self._waiting = 0
        return data

    def pipe_to(self, sink: Sink) -> None:
        """Give everything, from now on, to `sink`. It may `hold` and `release` while it is given something."""
        self._sink = sink
        if self.error is not None:
            sink.on_abort(self.error)
        else:
            self._drain()

    def detach(self) -> None:
        """The consumer has gone: drop what comes. The source goes on reading so that its message can end."""
        self._sink = _NOWHERE
        self._chunks.clear()
        self._waiting = 0
        self._held = False
        self._start_source()

    def cancel(self, error: ProxyError) -> None:
        """The consumer gives up for good: unlike `detach`, the source need not go on."""
        source = self._source
        self._sink = _NOWHERE
        self._chunks.clear()
        self._waiting = 0
        self._held = False
        if source is not None:
            self._source = None
            source.cancel_body(error)

    def hold(self) -> None:
        """The sink cannot take more for now."""
        self._held = True
        self._stop_source()

    def release(self) -> None:
        """The sink can take more again."""
        if self._held:
            self._held = False
            self._drain()

    def _drain(self) -> None:
        """Give what waits to the sink, which may hold, leave or make the source feed meanwhile."""
        sink = self._sink
        if self._draining or sink is None:
            return
        self._draining = True
        try:
            self._give(sink, self._chunks)
        finally:
            self._draining = False
        if self._held or self.error is not None or self._sink is not sink:
            return
        if self.ended:
            self._sink = _NOWHERE
            sink.on_end(self.trailers)
        else:
            self._start_source()

    def _give(self, sink: Sink, chunks: list[bytes]) -> None:
        """One after the other until the sink holds or leaves; what is fed meanwhile queues up behind."""
        given = 0
        while given < len(chunks) and not self._held:
            chunk = chunks[given]
            given += 1
            self._waiting -= len(chunk)
            sink.on_data(chunk)
            if self._sink is not sink or self.error is not None:
                return
        del chunks[:given]

    def _stop_source(self) -> None:
        if not self.stopped and self._source is not None:
            self.stopped = True
            self._source.pause_reading()

    def _start_source(self) -> None:
        if self.stopped:
            self.stopped = False
            if self._source is not None:
                self._source.resume_reading()

    def __repr__(self) -> str:
        state = "aborted" if self.error else "ended" if self.ended else "open"
        return f"<Body {state}, {self._waiting} bytes waiting{', held' if self._held else ''}>"


class _Nowhere:
    """Takes everything and keeps nothing."""

    def on_data(self, chunk: bytes) -> None:
        pass

    def on_end(self, trailers: Trailers | None) -> None:
        pass

    def on_abort(self, error: ProxyError) -> None:
        pass


_NOWHERE: Final = _Nowhere()
