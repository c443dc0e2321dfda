"""Signals as bytes on a socket, so that a process without an event loop can wait for them with `select`."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from types import FrameType

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


class SignalPipe:
    """Collects the signals of `HANDLED`. `fileno` becomes readable when one came."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        for number in HANDLED:
            signal.signal(number, _noted)

    def fileno(self) -> int:
        return self._read.fileno()

    def taken(self) -> list[signal.Signals]:
        """The signals that came since the last call, in order."""
        with contextlib.suppress(BlockingIOError):
            return [signal.Signals(number) for number in self._read.recv(4096)]
        return []

    def release_in_child(self) -> None:
        """Forget the parent's handlers: they write into the parent's socket."""
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        self._read.close()
        self._write.close()

    def close(self) -> None:
        self.release_in_child()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Signals wait while a child is made and has not yet dropped its parent's handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _noted(number: int, frame: FrameType | None) -> None:
    """Python writes the number to the wake-up socket before it calls this."""
