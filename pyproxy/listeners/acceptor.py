"""Accepts the sockets of one listen socket one by one, for listeners that look at a connection before it is opened."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Final

from pyproxy import clock

log = logging.getLogger("pyproxy.listeners")

AT_ONCE: Final = 64
"""Connections that are taken in one turn of the loop: others want their turn too."""
_PAUSE_SECONDS: Final = 0.1
_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Calls `on_socket` for each connection until it is closed. Without room for more, it waits instead of spinning."""

    __slots__ = ("_at_once", "_bound", "_loop", "_on_socket", "_pause")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        bound: socket.socket,
        on_socket: Callable[[socket.socket], None],
        at_once: int = AT_ONCE,
    ) -> None:
        self._loop = loop
        self._at_once = at_once
        self._bound = bound
        self._on_socket = on_socket
        self._pause: asyncio.TimerHandle | None = None

    def listen(self, backlog: int) -> None:
        self._bound.setblocking(False)
        self._bound.listen(backlog)
        self._resume()

    def close(self) -> None:
        """Take no more. What waits in the queue is for the caller, as is the socket."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._bound)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._bound, self._on_readable)

    def _on_readable(self) -> None:
        clock.tick()
        for _ in range(self._at_once):
            try:
                taken, _ = self._bound.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                log.warning("cannot accept connections for now: %s", error.strerror)
                self._loop.remove_reader(self._bound)
                self._pause = self._loop.call_later(_PAUSE_SECONDS, self._resume)
                return
            taken.setblocking(False)
            self._on_socket(taken)
