"""Writes are collected while a loop callback runs, and go out once at its end: one system call per direction.

Every connection of a worker shares one `Cork`. A callback that reads from a socket sets it, does its work, and
pulls it; what is written outside such a callback goes out at the end of the loop's turn.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pyproxy import clock

if TYPE_CHECKING:
    from pyproxy.network.connection import Connection


class Cork:
    """The connections that have something to write."""

    __slots__ = ("_late_scheduled", "_loop", "dirty", "inside", "late")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.dirty: list[Connection] = []
        self.late: list[Connection] = []
        """Those that carry messages of many others: they are written at the end of the loop's turn, so that what comes
        of several callbacks goes out at once."""
        self._late_scheduled = False
        self.inside = False
        """A callback is running that will call `pull` at its end."""

    def schedule(self) -> None:
        """Something was written outside of such a callback."""
        self._loop.call_soon(self._pull_later)

    def add_late(self, connection: Connection) -> None:
        self.late.append(connection)
        if not self._late_scheduled:
            self._late_scheduled = True
            self._loop.call_soon(self._flush_late)

    def _flush_late(self) -> None:
        clock.tick()
        self._late_scheduled = False
        late, self.late = self.late, []
        self.inside = True
        try:
            while late:
                late.pop().flush()
        finally:
            if late:  # a flush failed: the others still have their turn
                self.late += late
                self._late_scheduled = True
                self._loop.call_soon(self._flush_late)
            self.pull()

    def _pull_later(self) -> None:
        clock.tick()
        self.pull()

    def pull(self) -> None:
        """Write what was collected. A flush may write more (a buffer that emptied), so until there is none."""
        dirty = self.dirty
        try:
            while dirty:
                dirty.pop().flush()
        finally:
            self.inside = False
            if dirty:  # a flush failed: the others still have their turn
                self.schedule()
