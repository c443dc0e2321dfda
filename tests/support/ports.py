"""Loopback ports: free ones for processes that must be told theirs, and one where connecting never ends."""

from __future__ import annotations

import fcntl
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

LOOPBACK = "127.0.0.1"
LOCKS = Path(tempfile.gettempdir()) / "pyproxy-test-ports"
CANDIDATES = [port for port in range(12_000, 32_000) if port != 15_000]
"""Without one that is also a default timeout in milliseconds, and so stands in headers that are compared."""
_held: list[IO[str]] = []


def free_ports(count: int) -> list[int]:
    """Ports that nobody else gets while this process lives.

    A listener with SO_REUSEPORT would share a port that was handed out twice and silently take half of the
    connections. So a port is locked by a file, across processes, and lies below those that the kernel hands out.
    """
    LOCKS.mkdir(exist_ok=True)
    found: list[int] = []
    for port in random.sample(CANDIDATES, len(CANDIDATES)):
        if len(found) == count:
            return found
        if _lock(port):
            found.append(port)
    raise OSError("no free ports")


def _lock(port: int) -> bool:
    file = (LOCKS / str(port)).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as probe:
            probe.bind((LOOPBACK, port))
    except OSError:
        file.close()
        return False
    _held.append(file)
    return True


class FullListener:
    """A port whose accept queue is full: a connection attempt is neither accepted nor refused."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind((LOOPBACK, 0))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._waiting: list[socket.socket] = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((LOOPBACK, self.port))
            self._waiting.append(sock)

    def stop(self) -> None:
        for sock in (*self._waiting, self._listener):
            sock.close()
