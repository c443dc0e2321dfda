"""Watches sockets that belong to the transports of the loop, with an epoll of its own that the loop watches.

The loop would not do it: it refuses such sockets, and does not call anybody where one of them is broken.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Final

from pyproxy import clock

Callback = Callable[[], None]
_BROKEN: Final = select.EPOLLERR | select.EPOLLHUP


class Poller:
    """One for a worker. It costs nothing until it is used."""

    __slots__ = ("_epoll", "_loop", "_readers", "_writers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll: select.epoll | None = None
        self._readers: dict[int, Callback] = {}
        self._writers: dict[int, Callback] = {}

    def when_readable(self, number: int, callback: Callback | None) -> None:
        """Call whenever there is something to read, also an end or an error; None to stop."""
        self._set(self._readers, number, callback)

    def when_writable(self, number: int, callback: Callback | None) -> None:
        """Call whenever there is room, also where nobody will read it; None to stop."""
        self._set(self._writers, number, callback)

    def close(self) -> None:
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _set(self, callbacks: dict[int, Callback], number: int, callback: Callback | None) -> None:
        before = self._mask(number)
        if callback is None:
            callbacks.pop(number, None)
        else:
            callbacks[number] = callback
        mask = self._mask(number)
        if mask == before:
            return
        epoll = self._epoll
        if epoll is None:
            epoll = self._epoll = select.epoll()
            self._loop.add_reader(epoll.fileno(), self._on_ready)
        if not mask:
            epoll.unregister(number)
        elif before:
            epoll.modify(number, mask)
        else:
            epoll.register(number, mask)

    def _mask(self, number: int) -> int:
        mask = 0
        if number in self._readers:
            mask |= select.EPOLLIN
        if number in self._writers:
            mask |= select.EPOLLOUT
        return mask

    def _on_ready(self) -> None:
        clock.tick()
        assert self._epoll is not None
        for number, events in self._epoll.poll(0):
            if events & (select.EPOLLIN | _BROKEN):
                reader = self._readers.get(number)
                if reader is not None:
                    reader()
            if events & (select.EPOLLOUT | _BROKEN):
                writer = self._writers.get(number)
                if writer is not None:
                    writer()
