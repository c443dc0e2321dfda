"""Things that are only asked for when a request needs them, and who waits for each."""

from __future__ import annotations

import asyncio


class Demands:
    """Futures by name; each says whether the thing has come."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[bool]] = {}

    def of(self, name: str) -> asyncio.Future[bool]:
        """Shared by all who wait; not to be cancelled."""
        found = self._waiting.get(name)
        if found is None:
            found = self._waiting[name] = asyncio.get_running_loop().create_future()
        return found

    def __contains__(self, name: str) -> bool:
        return name in self._waiting

    def decide(self, name: str, *, found: bool) -> None:
        """It has come, or there is none."""
        waiting = self._waiting.pop(name, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(found)


def decided(*, found: bool) -> asyncio.Future[bool]:
    """The answer to what is known already."""
    future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    future.set_result(found)
    return future
