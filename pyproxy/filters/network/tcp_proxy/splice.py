"""Moves the bytes of one direction of a session inside the kernel (splice(2)): they are neither copied nor looked at.

It costs about half the CPU of reading and writing them, and four file descriptors, so it is for those that move much.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from typing import Final

from pyproxy import clock

BULK: Final = 1024 * 1024
BULK_SECONDS: Final = 1.0
"""A direction that moves so many bytes in so short a time is taken for one that moves much."""
_MOST_PIPE: Final = 1024 * 1024
_MOST_AT_ONCE: Final = 4
"""Full pipes in one turn of the loop: others want their turn too."""
_MUCH: Final = 64 * 1024
"""After less than that there is hardly more to be had at once."""
_MOST_SPLICES: Final = 256
"""In one worker."""
_MOVE_NONBLOCK: Final = 1 | 2
_SETPIPE_SZ: Final = 1031  # fcntl.h


class SpliceCount:
    """How many there are in this worker."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


COUNT: Final = SpliceCount()


class Splice:
    """From one socket to another, until there is no more, or one of them is gone.

    `count` is told how many bytes have reached the target. `ended` is called once, unless `stop` is called first: True
    where the source has said all or is broken, which whoever reads it next will see; False where the target is.
    """

    __slots__ = (
        "_active",
        "_count",
        "_ended",
        "_held",
        "_input",
        "_loop",
        "_output",
        "_size",
        "_source",
        "_target",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: int,
        target: int,
        count: Callable[[int], None],
        ended: Callable[[bool], None],
    ) -> None:
        """`source` and `target` are file descriptors, of which it takes copies: those belong to transports."""
        self._loop = loop
        self._count = count
        self._ended = ended
        self._held = 0
        self._size = 0
        self._active = False
        self._input = self._output = -1
        self._source = os.dup(source)
        self._target = os.dup(target)

    def start(self, limit: int) -> None:
        """Let no more than `limit` bytes wait between the two."""
        self._output, self._input = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        COUNT.value += 1
        self._active = True
        size = min(limit, _MOST_PIPE)
        try:
            self._size = fcntl.fcntl(self._input, _SETPIPE_SZ, size)
        except OSError:  # more than the system allows its user
            self._size = size
        self._loop.add_reader(self._source, self._on_readable)

    def stop(self) -> None:
        """Give everything back. What is in between is lost."""
        if self._active:
            self._active = False
            COUNT.value -= 1
            self._loop.remove_reader(self._source)
            self._loop.remove_writer(self._target)
            os.close(self._input)
            os.close(self._output)
        if self._source >= 0:
            os.close(self._source)
            os.close(self._target)
            self._source = self._target = -1

    def _on_readable(self) -> None:
        clock.tick()
        for _ in range(_MOST_AT_ONCE):
            try:
                moved = os.splice(self._source, self._input, self._size, flags=_MOVE_NONBLOCK)
            except BlockingIOError:
                return
            except OSError:
                moved = 0
            if not moved:
                self._end(True)
                return
            self._held += moved
            if not self._pass_on() or moved < _MUCH:
                return

    def _pass_on(self) -> bool:
        """Whether the target has taken all."""
        before = self._held
        good = True
        try:
            while self._held:
                self._held -= os.splice(self._output, self._target, self._held, flags=_MOVE_NONBLOCK)
        except BlockingIOError:
            self._loop.remove_reader(self._source)
            self._loop.add_writer(self._target, self._on_writable)
            good = False
        except OSError:
            self._end(False)
            return False
        if before != self._held:
            self._count(before - self._held)
        return good

    def _on_writable(self) -> None:
        clock.tick()
        if self._pass_on():
            self._loop.remove_writer(self._target)
            self._loop.add_reader(self._source, self._on_readable)

    def _end(self, source: bool) -> None:
        self.stop()
        self._ended(source)


def is_possible() -> bool:
    """Whether one more may be made."""
    return hasattr(os, "splice") and COUNT.value < _MOST_SPLICES
