"""Who watches requests, in the manager: tells workers what is wanted, and hands on what they see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from pyproxy.telemetry.live_tap import TapWish

_MOST_UNREAD: Final = 5000
MOST_WATCHERS: Final = 16

Entry = dict[str, Any]


class TooMany(Exception):
    """There are enough who watch."""


class TapHub:
    """`tell_workers` is called with all wishes when they have changed."""

    def __init__(self, tell_workers: Callable[[list[dict[str, Any]]], None]) -> None:
        self._tell = tell_workers
        self._watchers: dict[asyncio.Queue[Entry | None], TapWish] = {}

    @property
    def wishes(self) -> list[dict[str, Any]]:
        """Of all who watch now."""
        return [wish.as_message() for wish in self._watchers.values()]

    def take(self, message: dict[str, Any]) -> None:
        """What a worker has seen. Who does not read fast enough is told how many were left out."""
        for entry in message["entries"]:
            for queue, wish in self._watchers.items():
                if wish.wants(entry):
                    _put(queue, entry)
        if message["dropped"]:
            for queue in self._watchers:
                _put(queue, {"dropped": message["dropped"]})

    async def watch(self, wish: TapWish) -> AsyncIterator[Entry]:
        """Entries as they come, until the hub is closed. Raises TooMany."""
        if len(self._watchers) >= MOST_WATCHERS:
            raise TooMany(f"{MOST_WATCHERS} watch already")
        queue: asyncio.Queue[Entry | None] = asyncio.Queue(_MOST_UNREAD)
        self._watchers[queue] = wish
        self._tell(self.wishes)
        try:
            while (entry := await queue.get()) is not None:
                yield entry
        finally:
            del self._watchers[queue]
            self._tell(self.wishes)

    def close(self) -> None:
        for queue in self._watchers:
            _put(queue, None)


def _put(queue: asyncio.Queue[Entry | None], entry: Entry | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(entry)
