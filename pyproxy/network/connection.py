"""One TCP connection (or Unix socket) between asyncio and whatever speaks a protocol on it.

Subclasses override `on_bytes` and the other hooks. They never touch the transport: a write to a closed uvloop
transport raises, and two writes would be two system calls.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

from pyproxy import clock
from pyproxy.network.cork import Cork

Peer = tuple[str, int]

BUFFER_LIMIT: Final = 64 * 1024
"""Bytes that may wait in either direction unless a configuration wants fewer."""


class Connection:
    """One connection. `closed` is True from the moment when nothing more can be written.

    It is an `asyncio.Protocol` by shape, not by inheritance, so that it can be compiled.
    """

    __slots__ = (
        "_close_when_flushed",
        "_cork",
        "_dirty",
        "_out",
        "admit",
        "buffer_limit",
        "closed",
        "encrypted",
        "left_by_peer",
        "on_gone",
        "reading_paused",
        "transport",
        "write_blocked",
    )

    def __init__(self, cork: Cork) -> None:
        self._cork = cork
        self._out: list[bytes] = []
        self._dirty = False
        self._close_when_flushed = False
        self.transport: Any = None
        self.admit: Callable[[Any], bool] | None = None
        """Asked once the connection is there, and TLS stands, before anything else happens: whether it is wanted. Is
        given the TLS object, or None."""
        self.on_gone: Callable[[], None] | None = None
        """Called when an admitted connection is gone."""
        self.encrypted = False
        self.closed = False
        self.left_by_peer = False
        """Known once it is over: nobody here has closed it."""
        self.write_blocked = False
        self.reading_paused = False
        self.buffer_limit = BUFFER_LIMIT

    # Hooks of subclasses

    def on_open(self) -> None:
        """The connection is there."""

    def on_bytes(self, data: bytes) -> None:
        """Bytes came."""
        raise NotImplementedError

    def on_eof(self) -> bool:
        """The peer will send no more. True keeps our half open."""
        return False

    def on_closed(self, error: Exception | None) -> None:
        """The connection is gone; called once."""

    def on_writable(self, writable: bool) -> None:
        """The peer has fallen behind (False) or caught up (True)."""

    # What subclasses do

    def limit_buffers(self, size: int) -> None:
        """Before the connection is open: let no more wait than `size` bytes, where 0 is no wish (Envoy)."""
        if 0 < size < BUFFER_LIMIT:
            self.buffer_limit = size

    def write(self, data: bytes) -> None:
        """Queue bytes; they go out at the end of the running callback. Dropped once the connection is closed."""
        if self.closed:
            return
        self._out.append(data)
        if not self._dirty:
            self._dirty = True
            cork = self._cork
            cork.dirty.append(self)
            if not cork.inside:
                cork.schedule()

    def flush(self) -> None:
        """Hand what is queued to the kernel. Called by the cork."""
        self._dirty = False
        out = self._out
        if out and not self.closed:
            if len(out) == 1:
                self.transport.write(out[0])
            else:
                self.transport.writelines(out)
        out.clear()
        if self._close_when_flushed and not self.closed:
            self._close_when_flushed = False
            self.closed = True
            self.transport.close()

    def close(self) -> None:
        """Close after what was written so far."""
        if self.closed:
            return
        if self._out:
            self._close_when_flushed = True
        else:
            self.closed = True
            if self.transport is not None:
                self.transport.close()

    def abort(self) -> None:
        """Close now (RST where the kernel still holds data), even if `close` still waits for the peer to read."""
        self.closed = True
        self._out.clear()
        if self.transport is not None:
            self.transport.abort()

    def shutdown_write(self) -> None:
        """Send FIN after what was written so far; go on reading."""
        if not self.closed:
            if self._out:
                self.flush()
            if self.encrypted:  # TLS has no half-closed connections here
                self.close()
            else:
                self.transport.write_eof()

    def unsent(self) -> int:
        """How many bytes wait for the peer to read what was sent before them."""
        size: int = self.transport.get_write_buffer_size()
        return size

    def pause_reading(self) -> None:
        if not self.reading_paused and not self.closed:
            self.reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.reading_paused and not self.closed:
            self.reading_paused = False
            self.transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        clock.tick()
        self.transport = transport
        if self.buffer_limit < BUFFER_LIMIT:
            self.transport.set_write_buffer_limits(self.buffer_limit)
        if self.admit is not None:
            tls = transport.get_extra_info("ssl_object")
            self.encrypted = tls is not None
            if not self.admit(tls):
                self.closed = True
                self.transport.set_protocol(asyncio.Protocol())  # so that not a byte of it gets here
                self.transport.abort()
                return
        self.on_open()

    def data_received(self, data: bytes) -> None:
        clock.tick()
        cork = self._cork
        cork.inside = True
        try:
            self.on_bytes(data)
        finally:
            cork.pull()

    def eof_received(self) -> bool:
        clock.tick()
        cork = self._cork
        cork.inside = True
        keep = False
        try:
            keep = self.on_eof()
        finally:
            cork.pull()
        if not keep:  # the transport closes itself now, after what was written
            self.closed = True
        return keep

    def connection_lost(self, exc: Exception | None) -> None:
        clock.tick()
        self.left_by_peer = not self.closed
        self.closed = True
        self._out.clear()
        cork = self._cork
        cork.inside = True
        try:
            self.on_closed(exc)
        finally:
            cork.pull()
            if self.on_gone is not None:
                self.on_gone()

    def pause_writing(self) -> None:
        self.write_blocked = True
        self.on_writable(False)

    def resume_writing(self) -> None:
        clock.tick()
        self.write_blocked = False
        self.on_writable(True)

    # Facts

    def peer(self) -> Peer:
        return _peer(self.transport.get_extra_info("peername"))

    def local(self) -> Peer:
        return _peer(self.transport.get_extra_info("sockname"))

    def socket(self) -> socket.socket | None:
        found: socket.socket | None = self.transport.get_extra_info("socket")
        return found


def _peer(address: Any) -> Peer:
    if isinstance(address, tuple):
        return str(address[0]), int(address[1])
    if isinstance(address, bytes):
        return address.decode(errors="replace"), 0
    return str(address or ""), 0
