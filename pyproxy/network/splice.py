"""Moves bytes from one socket to another inside the kernel (splice(2)): they are neither copied nor looked at.

It costs about half the CPU of reading and writing them, and two file descriptors, so it is for what moves much.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from typing import Final

from pyproxy import clock
from pyproxy.network.poller import Poller

BULK: Final = 1024 * 1024
BULK_SECONDS: Final = 1.0
"""Who moves so many bytes in so short a time is taken for one who moves much."""
_MOST_PIPE: Final = 1024 * 1024
_MOST_AT_ONCE: Final = 4
"""Full pipes in one turn of the loop: others want their turn too."""
_MUCH: Final = 64 * 1024
"""After less than that there is hardly more to be had at once."""
_MOST_SPLICES: Final = 256
"""In one worker."""
_MOVE_NONBLOCK: Final = 1 | 2
_SETPIPE_SZ: Final = 1031  # fcntl.h


class Splices:
    """Those of one worker."""

    __slots__ = ("count", "poller")

    def __init__(self, poller: Poller) -> None:
        self.poller = poller
        self.count = 0

    @property
    def has_room(self) -> bool:
        """One more may be made."""
        return hasattr(os, "splice") and self.count < _MOST_SPLICES


class Splice:
    """Until there is no more, or one of the two is gone. The sockets belong to somebody else, who has to call `stop`
    before closing them.

    `count` is told how many bytes have reached the target. `ended` is called once, unless `stop` is called first: True
    where the source has said all or is broken, which whoever reads it next will see; False where the target is.
    """

    __slots__ = (
        "_active",
        "_count",
        "_ended",
        "_held",
        "_input",
        "_output",
        "_poller",
        "_size",
        "_source",
        "_splices",
        "_target",
    )

    def __init__(
        self,
        splices: Splices,
        source: int,
        target: int,
        count: Callable[[int], None],
        ended: Callable[[bool], None],
    ) -> None:
        """`source` and `target` are file descriptors."""
        self._splices = splices
        self._poller = splices.poller
        self._count = count
        self._ended = ended
        self._held = 0
        self._size = 0
        self._active = False
        self._input = self._output = -1
        self._source = source
        self._target = target

    def start(self, limit: int) -> None:
        """Let no more than `limit` bytes wait between the two."""
        self._output, self._input = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._splices.count += 1
        self._active = True
        size = min(limit, _MOST_PIPE)
        try:
            self._size = fcntl.fcntl(self._input, _SETPIPE_SZ, size)
        except OSError:  # more than the system allows its user
            self._size = size
        self._poller.when_readable(self._source, self._on_readable)

    def stop(self) -> None:
        """Give everything back. What is in between is lost."""
        if self._active:
            self._active = False
            self._splices.count -= 1
            self._poller.when_readable(self._source, None)
            self._poller.when_writable(self._target, None)
            os.close(self._input)
            os.close(self._output)

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
            self._poller.when_readable(self._source, None)
            self._poller.when_writable(self._target, self._on_writable)
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
            self._poller.when_writable(self._target, None)
            self._poller.when_readable(self._source, self._on_readable)

    def _end(self, source: bool) -> None:
        self.stop()
        self._ended(source)
