"""Tasks that are owned and named, and deadlines that cost a dict entry instead of a timer each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from pyproxy import clock

log = logging.getLogger("pyproxy.tasks")
_owned: set[asyncio.Task[Any]] = set()


def spawn(coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Run a coroutine as a task that is kept alive and whose failure is logged."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _owned.add(task)
    task.add_done_callback(_forget)
    return task


def _forget(task: asyncio.Task[Any]) -> None:
    _owned.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task %s failed", task.get_name(), exc_info=error)


class Expiring(Protocol):
    """Something that can run out of time."""

    def on_deadline(self, deadlines: Deadlines) -> None: ...


class Deadlines:
    """All the things that share one duration, in the order in which they will run out.

    Because the duration is the same for all, the order of arming is the order of expiry: arming and
    disarming are one dict operation each, and one loop timer stands for thousands of requests. The timer
    is precise: it is set for the oldest entry, and moves on when that one has gone.
    """

    __slots__ = ("_armed", "_early", "_loop", "_timer", "seconds")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.seconds = seconds
        self._loop = loop
        self._armed: dict[Expiring, float] = {}
        self._early: dict[Expiring, asyncio.TimerHandle] = {}
        self._timer: asyncio.TimerHandle | None = None

    def arm(self, item: Expiring) -> None:
        """Start or restart the clock of `item`."""
        armed = self._armed
        if item in armed:
            del armed[item]
        armed[item] = clock.now + self.seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self.seconds, self._fire)

    def arm_once(self, item: Expiring) -> None:
        """Start the clock of `item` unless it runs."""
        if item not in self._armed:
            self.arm(item)

    def arm_early(self, item: Expiring, seconds: float) -> None:
        """Come back to `item` after less than the full duration: for clocks that are not restarted by each event.

        Costs a timer of its own, so it is for what happens once per duration, not once per request.
        """
        timer = self._early.pop(item, None)
        if timer is not None:
            timer.cancel()
        self._early[item] = self._loop.call_later(seconds, self._come_back, item)

    def disarm(self, item: Expiring) -> None:
        self._armed.pop(item, None)
        if self._early:
            timer = self._early.pop(item, None)
            if timer is not None:
                timer.cancel()

    def __len__(self) -> int:
        return len(self._armed) + len(self._early)

    def _come_back(self, item: Expiring) -> None:
        clock.tick()
        del self._early[item]
        item.on_deadline(self)

    def _fire(self) -> None:
        # The loop's clock has a resolution of one millisecond: it may call a little early.
        now = clock.tick() + 0.0005
        armed = self._armed
        # `_timer` stays set meanwhile, so that what is armed again here starts no second timer.
        while armed:
            item, at = next(iter(armed.items()))
            if at > now:
                self._timer = self._loop.call_later(at - now, self._fire)
                return
            del armed[item]
            self._expire(item)
        self._timer = None

    def _expire(self, item: Expiring) -> None:
        """One that fails must not keep the others from running out."""
        try:
            item.on_deadline(self)
        except Exception:
            log.exception("the timeout of %r failed", item)


_MOST_DURATIONS: Final = 256


class DeadlineTable:
    """One `Deadlines` per duration. Those that configurations name are few; a request may name any, and beyond a
    number of them they are not kept: a rare duration costs a timer of its own, and no memory for ever.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._by_seconds: dict[float, Deadlines] = {}

    def of(self, seconds: float) -> Deadlines:
        found = self._by_seconds.get(seconds)
        if found is None:
            found = Deadlines(self._loop, seconds)
            if len(self._by_seconds) < _MOST_DURATIONS:
                self._by_seconds[seconds] = found
        return found


def call_every(loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], None]) -> Callable[[], None]:
    """Call `callback` every `seconds` until the returned function is called."""
    handle: asyncio.TimerHandle

    def tick() -> None:
        nonlocal handle
        handle = loop.call_later(seconds, tick)
        callback()

    handle = loop.call_later(seconds, tick)

    def cancel() -> None:
        handle.cancel()

    return cancel
