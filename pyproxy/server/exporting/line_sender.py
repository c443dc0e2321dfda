"""Writes bytes to a host of a cluster, on a connection that is kept; nothing is expected back."""

from __future__ import annotations

import asyncio
from typing import Any

from pyproxy.server.exporting.destination import Destination


class _Pipe(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport


class LineSender:
    """One receiver."""

    def __init__(self, destination: Destination, most_waiting: int = 1 << 20) -> None:
        self._destination = destination
        self._most_waiting = most_waiting
        self._pipe: _Pipe | None = None

    async def send(self, data: bytes) -> None:
        """Raises what `Destination.connect` does, and OSError where the receiver does not read."""
        if self._pipe is None or self._pipe.transport.is_closing():
            self._pipe = await self._destination.connect(_Pipe)
        if self._pipe.transport.get_write_buffer_size() > self._most_waiting:
            self.close()
            raise BlockingIOError("the receiver does not read what is sent to it")
        self._pipe.transport.write(data)

    def close(self) -> None:
        if self._pipe is not None:
            self._pipe.transport.close()
            self._pipe = None
