"""Who plays an attack: one connection, as fast as it goes, until the other side has ended it."""

import contextlib
import select
import socket
import time
from dataclasses import dataclass

from drills.h2_attacks import PREFACE, RST_STREAM, SETTINGS, Attack, frame

GOAWAY = 7


@dataclass(slots=True)
class Outcome:
    """`ended_after` are seconds from the first frame of the attack; None where it was never ended."""

    ended_after: float | None = None
    sent: int = 0
    goaway: int | None = None
    """The error code of a GOAWAY that was read."""
    resets: int = 0


class Attacker:
    """`play` once. Blocks, so it wants a thread of its own."""

    def __init__(self, port: int, attack: Attack) -> None:
        self._attack = attack
        self._socket = socket.socket()
        if not attack.reads:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(30)
        self._socket.connect(("127.0.0.1", port))
        self._seen = b""
        self.outcome = Outcome()

    def play(self, patience: float = 10.0) -> Outcome:
        """Attack, then wait at most so many seconds for the end."""
        outcome = self.outcome
        with self._socket, contextlib.suppress(OSError):
            self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0, self._attack.settings))
            self._socket.setblocking(False)
            begun = time.monotonic()
            try:
                for chunk in self._attack.chunks():
                    self._send(chunk, begun + patience)
                    if outcome.ended_after is not None or time.monotonic() > begun + patience:
                        return outcome
                while outcome.ended_after is None and (left := begun + patience - time.monotonic()) > 0:
                    self._look(left, writing=False)
                    if not self._attack.ends and outcome.resets:
                        return outcome
            except (ConnectionError, EOFError):
                outcome.ended_after = time.monotonic() - begun
        return outcome

    def _send(self, data: bytes, until: float) -> None:
        rest = memoryview(data)
        while rest and time.monotonic() < until:
            try:
                sent = self._socket.send(rest)
                self.outcome.sent += sent
                rest = rest[sent:]
            except BlockingIOError:
                self._look(0.1, writing=True)
            self._look(0, writing=False)

    def _look(self, seconds: float, *, writing: bool) -> None:
        """Read what there is, if this attack reads. Raises EOFError and ConnectionError at the end."""
        poll = select.poll()
        poll.register(
            self._socket,
            (select.POLLIN if self._attack.reads else select.POLLRDHUP) | (select.POLLOUT if writing else 0),
        )
        for _, events in poll.poll(seconds * 1000):
            if events & (select.POLLERR | select.POLLHUP | select.POLLRDHUP) and not self._attack.reads:
                raise EOFError
            if events & (select.POLLIN | select.POLLERR | select.POLLHUP) and self._attack.reads:
                data = self._socket.recv(1 << 18)
                if not data:
                    raise EOFError
                self._read(data)

    def _read(self, data: bytes) -> None:
        self._seen += data
        while len(self._seen) >= 9:
            size = 9 + int.from_bytes(self._seen[:3], "big")
            if len(self._seen) < size:
                return
            whole, self._seen = self._seen[:size], self._seen[size:]
            if whole[3] == GOAWAY:
                self.outcome.goaway = int.from_bytes(whole[13:17], "big")
            elif whole[3] == RST_STREAM:
                self.outcome.resets += 1
