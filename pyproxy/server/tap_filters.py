"""Who has asked at the admin for what tap filters record (`POST /tap`): one at a time, as in Envoy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from pyproxy.config.tap import AdminSink
from pyproxy.tasks import spawn

_MOST_UNREAD: Final = 1000
_LAST = object()

if TYPE_CHECKING:
    from pyproxy.config.tap_compile import TapRequest

AskWorkers = Callable[[dict[str, Any]], Awaitable[list[Any]]]


class AlreadyAttached(Exception):
    """Somebody else has asked before and still listens."""


class UnknownTap(Exception):
    """No filter has this id."""


class TapFilters:
    """Tells the workers what is wanted, and hands on what they record."""

    def __init__(self, ask_workers: AskWorkers) -> None:
        self._ask = ask_workers
        self._attached: TapRequest | None = None
        self._queue: asyncio.Queue[Any] = asyncio.Queue(_MOST_UNREAD)

    @property
    def message(self) -> dict[str, Any] | None:
        """For a worker that begins to serve."""
        return None if self._attached is None else _message(self._attached, self._attached.packed)

    async def attach(self, request: TapRequest) -> AsyncIterator[bytes]:
        """Raises AlreadyAttached, UnknownTap. Whoever iterates is attached until the iterator is closed."""
        if self._attached is not None:
            raise AlreadyAttached("An attached /tap admin stream already exists. Detach it.")
        self._attached = request
        self._queue = asyncio.Queue(_MOST_UNREAD)
        answers = await self._ask(_message(request, request.packed))
        if not any(answer and answer["known"] for answer in answers):
            self._attached = None
            raise UnknownTap(f"Unknown config id '{request.config_id}'. No extension has registered with this id.")
        stream = self._stream(request)
        await anext(stream)  # now it has begun, and closing it detaches even if nobody reads
        return stream

    def take(self, message: dict[str, Any]) -> None:
        """A worker has recorded something. Who does not read loses the oldest."""
        request = self._attached
        if request is None or message["id"] != request.config_id:
            return
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(message["trace"])

    def close(self) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(_LAST)

    async def _stream(self, request: TapRequest) -> AsyncIterator[bytes]:
        # Imported by the first who asks: no manager pays for protobuf's JSON before.
        from pyproxy.config.tap_trace import render_trace

        sink, form = request.config.sink, request.config.format
        assert isinstance(sink, AdminSink)
        try:
            yield b""
            if sink.most:
                for trace in await self._gather(sink):
                    yield render_trace(trace, form)
                return
            while (trace := await self._queue.get()) is not _LAST:
                yield render_trace(trace, form)
        finally:
            self._attached = None
            await self._ask(_message(request, ""))

    async def _gather(self, sink: AdminSink) -> list[dict[str, Any]]:
        """As many as are wanted, or those that came in time."""
        found: list[dict[str, Any]] = []

        async def fill() -> None:
            while len(found) < sink.most and (trace := await self._queue.get()) is not _LAST:
                found.append(trace)

        task = spawn(fill(), "gather-traces")
        try:
            await asyncio.wait({task}, timeout=sink.seconds or None)
        finally:
            task.cancel()
        return found


def _message(request: TapRequest, packed: str) -> dict[str, Any]:
    return {"op": "tap_filters", "id": request.config_id, "config": packed}
