"""Runs one coroutine per request without a Task.

A Task costs a turn of the loop to start and another for each wake-up. The request path waits for few things, all
of them ours, so a `Drive` steps its coroutine at once: from the callback that brought what it waited for.
Filters may also await asyncio futures; what needs `asyncio.current_task()` does not work here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Generator
from typing import Any

from pyproxy import clock
from pyproxy.http.fast import advance

log = logging.getLogger("pyproxy.http.drive")


class Waiter:
    """Something to await that is over when somebody calls `wake`. Subclasses give or raise something after that."""

    __slots__ = ("drive", "over")

    def __init__(self) -> None:
        self.drive: Drive | None = None
        """Whose coroutine waits."""
        self.over = False

    def wake(self) -> None:
        """It is over. Steps the coroutine that waits, if there is one."""
        self.over = True
        drive = self.drive
        if drive is not None:
            self.drive = None
            drive.step()

    def __await__(self) -> Generator[Any, None, Any]:
        if not self.over:
            yield self


class Drive:
    """Steps a coroutine. Subclasses say what to do with its end in `on_return` and `on_raise`."""

    __slots__ = ("_coroutine", "_waiting_for")

    def __init__(self) -> None:
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._waiting_for: Any = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Begin; the coroutine runs until it first has to wait."""
        self._coroutine = coroutine
        self.step()

    def step(self) -> None:
        """Go on until the coroutine waits again or ends."""
        coroutine = self._coroutine
        if coroutine is None:
            return
        self._waiting_for = None
        try:
            ended, value = advance(coroutine)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - every failure has to become a reply
            self._coroutine = None
            self.on_raise(error)
            return
        if ended:
            self._coroutine = None
            self.on_return(value)
            return
        self._waiting_for = value
        if isinstance(value, Waiter):
            value.drive = self
        elif value is None:  # asyncio.sleep(0)
            self._waiting_for = turn = object()
            asyncio.get_running_loop().call_soon(self._future_done, turn)
        else:  # an asyncio future, and this is what Task does with it
            value._asyncio_future_blocking = False  # noqa: SLF001
            value.add_done_callback(self._future_done)

    def throw(self, error: Exception) -> Any:
        """Stop the coroutine where it waits: its `finally` blocks run. What it makes of that, or None."""
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is None:
            return None
        if isinstance(self._waiting_for, Waiter):
            self._waiting_for.drive = None
        self._waiting_for = None
        try:
            coroutine.throw(error)
            coroutine.close()  # it would wait again
        except StopIteration as stop:
            return stop.value
        except (Exception, asyncio.CancelledError) as other:
            if other is not error:
                log.error("a filter failed when its request was over", exc_info=other)
        return None

    def on_return(self, value: Any) -> None:
        raise NotImplementedError

    def on_raise(self, error: BaseException) -> None:
        raise NotImplementedError

    def _future_done(self, future: object) -> None:
        if future is self._waiting_for:
            clock.tick()
            self.step()
