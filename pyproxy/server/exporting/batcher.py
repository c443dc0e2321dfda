"""Items on their way to one collector: a bounded queue, sent in batches, one at a time.

A collector that is slow, gone or broken costs what the queue holds; what does not fit is dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pyproxy import clock
from pyproxy.tasks import spawn

log = logging.getLogger("pyproxy.exporting")

_TRIES: Final = 3
_FIRST_PAUSE: Final = 0.5
_COMPLAINT_SECONDS: Final = 60.0


class Refused(Exception):
    """The collector does not want these items, and would not want them a second time."""


class Busy(Exception):
    """The collector has no time now (OTLP: 429, 502, 503, 504)."""


class Counts(Protocol):
    """What becomes of items."""

    def sent(self, items: int) -> None: ...
    def dropped(self, items: int) -> None: ...
    def flushed_by_timer(self) -> None: ...
    def failed(self) -> None: ...


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """`soon` items are sent at once, fewer after `interval` seconds; a batch holds at most `most`."""

    interval: float = 5.0
    soon: int = 5
    most: int = 512
    queue: int = 2048
    timeout: float = 30.0


Send = Callable[[list[Any]], Awaitable[None]]


class Batcher:
    """The queue of one collector. `send` raises Refused, Busy, OSError or anything else where it fails."""

    def __init__(self, name: str, send: Send, limits: BatchLimits, counts: Counts) -> None:
        self._name = name
        self._send = send
        self._limits = limits
        self._counts = counts
        self._queue: deque[Any] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._next_complaint = 0.0
        self._task = spawn(self._run(), f"export-{name}")

    def offer(self, items: list[Any]) -> None:
        """Take what fits, and leave out the newest."""
        room = self._limits.queue - len(self._queue)
        if len(items) > room:
            self._counts.dropped(len(items) - room)
            items = items[:room]
        self._queue.extend(items)
        if len(self._queue) >= self._limits.soon:
            self._wake.set()

    async def close(self, seconds: float) -> None:
        """Send what there is, if that goes within the time."""
        self._closing = True
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._task), seconds)
        self._task.cancel()
        if self._queue:
            self._counts.dropped(len(self._queue))

    async def _run(self) -> None:
        limits = self._limits
        while not self._closing or self._queue:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), limits.interval)
            if not self._wake.is_set():
                self._counts.flushed_by_timer()
            self._wake.clear()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(limits.most, len(self._queue)))]
                if not await self._deliver(batch):
                    break

    async def _deliver(self, batch: list[Any]) -> bool:
        pause = _FIRST_PAUSE
        for left in reversed(range(_TRIES)):
            try:
                await asyncio.wait_for(self._send(batch), self._limits.timeout)
            except Exception as error:  # noqa: BLE001 (whatever it is, the next batch may fare better)
                self._counts.failed()
                self._complain(error)
                if isinstance(error, Refused) or not left or self._closing:
                    break
            else:
                self._counts.sent(len(batch))
                return True
            await asyncio.sleep(pause)
            pause *= 2
        self._counts.dropped(len(batch))
        return False

    def _complain(self, error: Exception) -> None:
        now = clock.monotonic()
        if now >= self._next_complaint:
            self._next_complaint = now + _COMPLAINT_SECONDS
            log.warning("%s does not take what is sent to it: %s", self._name, error or type(error).__name__)
