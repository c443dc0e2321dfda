"""A loop whose time the test moves, for what only ever asks a loop to call it later."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest

from pyproxy import clock


class ManualLoop(asyncio.AbstractEventLoop):
    """`advance` runs what falls due, in order. Nothing happens by itself."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[asyncio.TimerHandle] = []
        self._soon: list[asyncio.Handle] = []

    @classmethod
    def ticking(cls, monkeypatch: pytest.MonkeyPatch) -> ManualLoop:
        """One whose time is the time of the proxy."""
        loop = cls()
        monkeypatch.setattr(clock, "monotonic", loop.time)
        monkeypatch.setattr(clock, "now", loop.now)
        return loop

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(self.now + delay, callback, args, self, context)
        self._timers.append(handle)
        return handle

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._soon.append(handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    @property
    def timers(self) -> int:
        """How many are set."""
        return sum(not timer.cancelled() for timer in self._timers)

    def run_soon(self) -> None:
        while self._soon:
            soon, self._soon = self._soon, []
            for handle in soon:
                if not handle.cancelled():
                    handle._run()

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        self.run_soon()
        while due := [timer for timer in self._timers if not timer.cancelled() and timer.when() <= end]:
            first = min(due, key=asyncio.TimerHandle.when)
            self._timers.remove(first)
            self.now = max(self.now, first.when())
            first._run()
            self.run_soon()
        self.now = end
        clock.tick()
