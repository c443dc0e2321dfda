"""The connection of a health check: writes what is to be asked and hands on what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pyproxy.network.connection import Connection
from pyproxy.network.cork import Cork

Receive = Callable[[bytes], bool]


class Probe(Connection):
    """`ask` waits until `receive` says that what came is enough. Raises OSError where the connection ends before."""

    __slots__ = ("_receive", "_waiting", "ended", "unasked")

    def __init__(self, cork: Cork) -> None:
        super().__init__(cork)
        self._waiting: asyncio.Future[bool] | None = None
        self._receive: Receive | None = None
        self.ended: Callable[[], bool] | None = None
        """Asked at the end of the connection: whether that is the end of the answer too."""
        self.unasked: Callable[[bytes], None] | None = None
        """Gets what comes while nothing was asked; where there is none, that ends the connection."""

    async def ask(self, question: bytes, receive: Receive) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._waiting, self._receive = waiting, receive
        if self.closed:
            raise ConnectionResetError("the connection was closed")
        self.write(question)
        try:
            await waiting
        finally:
            self._waiting = self._receive = None

    def on_bytes(self, data: bytes) -> None:
        receive, waiting = self._receive, self._waiting
        if receive is None or waiting is None or waiting.done():
            if self.unasked is None:
                self.abort()
            else:
                self.unasked(data)
        elif receive(data):
            waiting.set_result(True)

    def on_eof(self) -> bool:
        waiting = self._waiting
        if waiting is not None and not waiting.done() and self.ended is not None and self.ended():
            waiting.set_result(True)
        return False

    def on_closed(self, error: Exception | None) -> None:
        waiting = self._waiting
        if waiting is not None and not waiting.done():
            waiting.set_exception(error or ConnectionResetError("the connection ended"))
