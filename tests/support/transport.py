"""A transport without a socket: the test is the peer and the kernel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyproxy.network.connection import Connection

ADDRESSES = {"peername": ("127.0.0.1", 40000), "sockname": ("127.0.0.1", 10000), "socket": None}


class ManualTransport:
    """Remembers what is written to it. `limit` bytes are taken before it tells its connection to wait.

    It behaves like uvloop's: `connection_lost` comes on a later turn of the loop, here at `settle`.
    """

    def __init__(self, connection: Connection, limit: float = float("inf")) -> None:
        self.connection = connection
        self.limit = limit
        self.written = bytearray()
        self.writes = 0
        self.unread = 0
        self.reading = True
        self.closing = self.aborted = self.lost = self.ended = False
        connection.connection_made(self)  # type: ignore[arg-type]

    # What the peer does

    def deliver(self, data: bytes) -> None:
        assert self.reading, "it would not have been read"
        assert not self.closing
        self.connection.data_received(data)
        self.settle()

    def deliver_eof(self) -> None:
        if not self.connection.eof_received():
            self.close()
        self.settle()

    def read(self) -> bytes:
        """What came since the last time; the proxy may write again."""
        data = bytes(self.written)
        self.written.clear()
        self.peer_reads()
        return data

    def peer_reads(self) -> None:
        self.unread = 0
        if self.connection.write_blocked:
            self.connection.resume_writing()
        self.settle()

    def lose(self, error: Exception | None = None) -> None:
        self.closing = True
        if not self.lost:
            self.lost = True
            self.connection.connection_lost(error)

    def settle(self) -> None:
        """What a turn of the loop would do: a closed transport is lost once all is sent."""
        if self.closing and not self.lost and (self.aborted or not self._waiting()):
            self.lose()

    # asyncio.Transport

    def write(self, data: bytes) -> None:
        assert not self.closing, "written after close"
        assert not self.ended, "written after EOF"
        self.writes += 1
        self.written += data
        self.unread += len(data)
        if self.unread > self.limit and not self.connection.write_blocked:
            self.connection.pause_writing()

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self._waiting()

    def get_extra_info(self, name: str) -> Any:
        return ADDRESSES[name]

    def _waiting(self) -> int:
        return self.unread if self.unread > self.limit else 0
