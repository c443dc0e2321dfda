"""A TCP server for tests: each connection is served by a function, in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from tests.support.ports import LOOPBACK

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with RST."""


class Peer:
    """Serves until it is closed."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._listening = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listening.getsockname()[1]
        self._serve = serve
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(sock,), daemon=True).start()

    def _one(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            self._serve(sock)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def echo(sock: socket.socket) -> None:
    """Give back what comes until nothing more will come."""
    while data := sock.recv(65536):
        sock.sendall(data)


def reset(sock: socket.socket) -> None:
    """Break the connection as soon as something came."""
    sock.recv(100)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
