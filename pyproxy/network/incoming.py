"""A connection that was accepted and not yet opened: its socket, and what is known of it so far.

Listener filters look at the bytes that wait in the socket without taking them, so that whoever opens the connection
finds all of them, TLS included.
"""

from __future__ import annotations

import asyncio
import fcntl
import select
import socket
import sys
import termios
from collections.abc import Callable
from typing import Any, Final

from pyproxy import clock
from pyproxy.config.filter_state import SharedState

Address = tuple[str, int]

_PAUSE_SECONDS: Final = 0.005


class IncomingClosed(Exception):
    """The peer has gone, or says no more, before there was enough to see."""


class Incoming:
    """Addresses are (host, port), or (path, 0) of a Unix socket; listener filters may replace them."""

    __slots__ = (
        "_loop",
        "accepted",
        "application_protocols",
        "connection",
        "destination",
        "direct_destination",
        "direct_source",
        "inside",
        "leaving",
        "metadata",
        "restored",
        "server_name",
        "sock",
        "source",
        "state",
        "tlvs",
        "transport_protocol",
        "unmatched",
        "upstream_source",
    )

    def __init__(
        self, sock: socket.socket, loop: asyncio.AbstractEventLoop, inside: tuple[Address, Address] | None = None
    ) -> None:
        self._loop = loop
        self.sock = sock
        self.inside = inside
        """(destination, source) of a connection that comes from this process."""
        if inside is None:
            inside = _pair(sock.getsockname()), _pair(sock.getpeername())
        self.direct_destination, self.direct_source = self.destination, self.source = inside
        self.state: tuple[SharedState, ...] = ()
        """The filter state that it brings along."""
        self.restored = False
        """The destination is the one that the peer meant, before it was brought here."""
        self.server_name = ""
        self.transport_protocol = ""
        self.application_protocols: tuple[str, ...] = ()
        self.metadata: dict[str, Any] = {}
        self.tlvs: tuple[tuple[int, bytes], ...] = ()
        """Of its PROXY header, to be passed on."""
        self.accepted = clock.now
        self.connection: Any = None
        """The protocol that was made for it."""
        self.upstream_source: tuple[str, int] | None = None
        """(address, mark) that connections to upstreams come from."""
        self.unmatched = False
        """No filter chain takes it."""
        self.leaving: list[Callable[[], None]] = []
        """Called once, when the connection is gone or has been refused."""

    async def peek(self, least: int, most: int) -> bytes:
        """The first bytes of the connection: at least `least`, at most `most`, which stay where they are.

        Raises IncomingClosed.
        """
        while True:
            seen = self._look(most)
            if len(seen) >= least:
                return seen
            await self._wait(least)
            if len(self._look(most)) == len(seen):
                raise IncomingClosed

    def skip(self, size: int) -> None:
        """Take bytes away that were seen."""
        while size:
            size -= len(self.sock.recv(size))

    def _look(self, most: int) -> bytes:
        try:
            seen = self.sock.recv(most, socket.MSG_PEEK)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise IncomingClosed from error
        if not seen:
            raise IncomingClosed
        return seen

    async def _wait(self, least: int) -> None:
        """Until so many bytes are there or no more will come (socket(7): SO_RCVLOWAT)."""
        if self.sock.family == socket.AF_UNIX:  # has no such mark
            await self._wait_for_growth()
            return
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
        readable = self._loop.create_future()
        self._loop.add_reader(self.sock, _set, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(self.sock)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    async def _wait_for_growth(self) -> None:
        gone = select.poll()
        gone.register(self.sock, select.POLLRDHUP)
        before = self._waiting()
        while self._waiting() == before and not gone.poll(0):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(_PAUSE_SECONDS)

    def _waiting(self) -> int:
        """Bytes that can be read (ioctl_tty(2): FIONREAD)."""
        return int.from_bytes(fcntl.ioctl(self.sock, termios.FIONREAD, bytes(4)), sys.byteorder)

    def close(self) -> None:
        """It is not wanted."""
        self.sock.close()
        self.left()

    def left(self) -> None:
        """It is gone."""
        leaving, self.leaving = self.leaving, []
        for callback in leaving:
            callback()

    def __repr__(self) -> str:
        return f"<Incoming {self.source} -> {self.destination}>"


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _pair(address: Any) -> Address:
    if isinstance(address, tuple):
        return str(address[0]), int(address[1])
    if isinstance(address, bytes):
        return address.decode(errors="replace"), 0
    return str(address or ""), 0
