"""Waiting before another try, without a task."""

from __future__ import annotations

import asyncio

from pyproxy import clock
from pyproxy.http.drive import Waiter


class Pause(Waiter):
    """`await` returns after so many seconds. Whoever stops waiting before that calls `cancel`."""

    __slots__ = ("_timer",)

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        super().__init__()
        self._timer = loop.call_later(seconds, self._ended)

    def cancel(self) -> None:
        self._timer.cancel()

    def _ended(self) -> None:
        clock.tick()
        self.wake()
