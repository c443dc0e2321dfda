"""An upstream that plays a script and remembers every byte: it can be slow, rude, early or broken on purpose.

Threads with blocking sockets, because a test must be able to say "send this, wait, reset" in that order.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.ports import LOOPBACK
from tests.support.wire import Message, cut_request

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes as they are."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class AwaitBody:
    """Go on when the whole request was read, or its sender went away."""


@dataclass(frozen=True, slots=True)
class AwaitClose:
    """Go on when the proxy closed its side."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close in order (FIN)."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Close with RST."""


Step = Send | Pause | AwaitBody | AwaitClose | Close | Reset
Answer = tuple[Step, ...]


def raw(*parts: bytes) -> Answer:
    """Wait for the whole request, then send the bytes, one write per part."""
    return (AwaitBody(), *(Send(part) for part in parts))


def reply(status: str = "200 OK", body: bytes = b"ok", *headers: str) -> Answer:
    """A plain answer with a content-length."""
    lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "", ""]
    return raw("\r\n".join(lines).encode("latin-1") + body)


OK = reply()


@dataclass(slots=True)
class Seen:
    """One request as it came off the wire; `connection` counts from 0 within a script."""

    connection: int
    message: Message


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    index: int
    buffer: bytes = b""
    eof: bool = False

    def read_more(self) -> bool:
        """False when nothing more will come."""
        if not self.eof:
            try:
                chunk = self.sock.recv(262144)
            except OSError:
                chunk = b""
            self.buffer += chunk
            self.eof = not chunk
        return not self.eof


@dataclass(slots=True)
class _Script:
    answers: Sequence[Answer] = (OK,)
    seen: list[Seen] = field(default_factory=list)
    played: int = 0
    connections: dict[int, int] = field(default_factory=dict)


class ScriptedUpstream:
    """Listens on a loopback port until `stop`. `begin` starts a new script and forgets the old one."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server((LOOPBACK, port), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._script = _Script()
        self._open: dict[int, socket.socket] = {}
        self._accepted = 0
        self._stopping = False
        self._acceptor = threading.Thread(target=self._accept, name=f"upstream:{self.port}", daemon=True)
        self._acceptor.start()

    def begin(self, answers: Sequence[Answer] = (OK,)) -> None:
        """Play `answers` in turn from the next request on; the last one repeats.

        Connections left in a pool by earlier requests are closed, so that every script starts from none.
        """
        with self._lock:
            self._script = _Script(answers=tuple(answers))
            left = list(self._open.values())
        for sock in left:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def seen(self) -> list[Seen]:
        with self._lock:
            return list(self._script.seen)

    @property
    def connections(self) -> int:
        """How many connections carried a request of this script."""
        with self._lock:
            return len(self._script.connections)

    @property
    def idle(self) -> bool:
        """True when nobody is connected."""
        with self._lock:
            return not self._open

    def stop(self) -> None:
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.begin()
        self._acceptor.join(PATIENCE)

    def _accept(self) -> None:
        while not self._stopping:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(PATIENCE)
            with self._lock:
                self._accepted += 1
                index = self._accepted
                self._open[index] = sock
            threading.Thread(target=self._serve, args=(_Connection(sock, index),), daemon=True).start()

    def _serve(self, connection: _Connection) -> None:
        try:
            while self._serve_one(connection):
                pass
        finally:
            with self._lock:
                self._open.pop(connection.index, None)
            connection.sock.close()

    def _serve_one(self, connection: _Connection) -> bool:
        """Answer one request; False when the connection is over."""
        cut = cut_request(connection.buffer)
        while cut is None:
            if not connection.read_more():
                cut = cut_request(connection.buffer, eof=True)
                break
            cut = cut_request(connection.buffer)
        if cut is None:
            return False
        seen, answer = self._record(connection, cut[0])
        for step in answer:
            if not self._play(step, connection, seen):
                self._read_body(connection, seen, until=0.0)
                return False
        self._read_body(connection, seen, until=PATIENCE)
        if not seen.message.complete:
            return False
        final = cut_request(connection.buffer)
        assert final is not None
        connection.buffer = connection.buffer[final[1] :]
        return True

    def _record(self, connection: _Connection, message: Message) -> tuple[Seen, Answer]:
        with self._lock:
            script = self._script
            ordinal = script.connections.setdefault(connection.index, len(script.connections))
            seen = Seen(ordinal, message)
            script.seen.append(seen)
            answer = script.answers[min(script.played, len(script.answers) - 1)]
            script.played += 1
        return seen, answer

    def _play(self, step: Step, connection: _Connection, seen: Seen) -> bool:
        """False when the step ended the connection."""
        match step:
            case Send(data):
                try:
                    connection.sock.sendall(data)
                except OSError:
                    return False
            case Pause(seconds):
                time.sleep(seconds)
            case AwaitBody():
                self._read_body(connection, seen, until=PATIENCE)
            case AwaitClose():
                while connection.read_more():
                    pass
            case Close():
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
                return False
            case Reset():
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                return False
        return True

    def _read_body(self, connection: _Connection, seen: Seen, *, until: float) -> None:
        """Read on until the request is complete, its sender left, or nothing came for `until` seconds."""
        while True:
            cut = cut_request(connection.buffer, eof=connection.eof)
            if cut is not None:
                seen.message = cut[0]
            if until == 0.0 or seen.message.complete or not connection.read_more():
                break
