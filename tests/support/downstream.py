"""A raw downstream: sends exactly these bytes, in these pieces, and reports exactly what came back."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.support.ports import LOOPBACK
from tests.support.wire import Message, cut_response

End = Literal["open", "closed", "reset"]
Done = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for a while before the next piece."""

    seconds: float


@dataclass(frozen=True, slots=True)
class AwaitReply:
    """Hold the next piece back until this many more responses (1xx ones count) have come."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class HalfClose:
    """Say that nothing more will be sent (FIN), and keep reading."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Go away with RST."""


Piece = bytes | Wait | AwaitReply | HalfClose | Abort


@dataclass(slots=True)
class Exchange:
    """Everything that came back on one connection."""

    local_port: int
    replies: list[Message] = field(default_factory=list)
    interims: list[Message] = field(default_factory=list)
    raw: bytes = b""
    rest: bytes = b""  # what came behind the last response and is none
    end: End = "open"
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait: for responses, for a close that was announced, for one that was not."""

    reply: float = 8.0
    close: float = 3.0
    linger: float = 0.015


class Downstream:
    """One connection to a proxy. `methods` are those of the requests that will be sent, in order."""

    def __init__(self, port: int, methods: Sequence[str], patience: Patience) -> None:
        self._sock = socket.create_connection((LOOPBACK, port), timeout=patience.reply)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._methods = list(methods)
        self._patience = patience
        self._parsed = 0
        self._pending: Message | None = None
        self.exchange = Exchange(local_port=self._sock.getsockname()[1])

    def send(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            match piece:
                case bytes():
                    self._send_bytes(piece)
                case Wait(seconds):
                    time.sleep(seconds)
                case AwaitReply(count):
                    self._read_until(self._count() + count)
                case HalfClose():
                    with contextlib.suppress(OSError):
                        self._sock.shutdown(socket.SHUT_WR)
                case Abort():
                    self.abort()

    def finish(self, replies: int, *, closes: bool) -> Exchange:
        """Read until `replies` final responses are there and the end of the connection is known."""
        exchange = self.exchange
        self._read(lambda: len(exchange.replies) >= replies, self._patience.reply)
        exchange.timed_out = len(exchange.replies) < replies and exchange.end == "open"
        announced = closes or any("close" in (r.field("connection") or "") for r in exchange.replies)
        if not exchange.timed_out:
            self._read(lambda: False, self._patience.close if announced else self._patience.linger)
        if self._pending is not None:
            exchange.replies.append(self._pending)
            self._pending = None
        else:
            exchange.rest = exchange.raw[self._parsed :]
        return exchange

    def close(self) -> None:
        self._sock.close()

    def abort(self) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def _count(self) -> int:
        return len(self.exchange.replies) + len(self.exchange.interims)

    def _send_bytes(self, data: bytes) -> None:
        """A proxy may answer and close before it read everything: that is an answer, not a failure."""
        with contextlib.suppress(OSError):
            self._sock.settimeout(self._patience.reply)
            self._sock.sendall(data)

    def _read_until(self, count: int) -> None:
        self._read(lambda: self._count() >= count, self._patience.reply)

    def _read(self, done: Done, patience: float) -> None:
        deadline = time.monotonic() + patience
        while not done() and self.exchange.end == "open":
            left = deadline - time.monotonic()
            if left <= 0 or self._sock.fileno() < 0:
                return
            self._sock.settimeout(left)
            try:
                chunk = self._sock.recv(262144)
            except TimeoutError:
                return
            except OSError:
                self.exchange.end = "reset"
                chunk = b""
            if not chunk and self.exchange.end == "open":
                self.exchange.end = "closed"
            self.exchange.raw += chunk
            self._parse()

    def _parse(self) -> None:
        """Cut what came so far; a response without an end stays pending until there is one."""
        exchange = self.exchange
        eof = exchange.end != "open"
        while self._parsed < len(exchange.raw):
            method = self._methods[min(len(exchange.replies), len(self._methods) - 1)] if self._methods else "GET"
            cut = cut_response(exchange.raw[self._parsed :], method, eof=eof)
            self._pending = cut[0] if cut else None
            if cut is None or not (cut[0].complete or eof):
                return
            message, size = cut
            self._parsed += size
            self._pending = None
            interim = 100 <= message.status < 200 and message.status != 101
            (exchange.interims if interim else exchange.replies).append(message)
