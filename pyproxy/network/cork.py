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

    __slots__ = ("_loop", "dirty", "inside")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.dirty: list[Connection] = []
        self.inside = False
        """A callback is running that will call `pull` at its end."""

    def schedule(self) -> None:
        """Something was written outside of such a callback."""
        self._loop.call_soon(self._pull_later)

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
