"""A downstream with blocking sockets that reads and writes as fast or as slowly as a test says."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from tests.server.running import PATIENCE
from tests.support.ports import LOOPBACK


class Downstream:
    """One connection. Raises ConnectionError where a response breaks off."""

    def __init__(self, port: int, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect((LOOPBACK, port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def __enter__(self) -> Downstream:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def request(self, method: str, path: str, body: bytes | None = None, *lines: str) -> tuple[int, bytes]:
        """Send and get (status, body)."""
        framing = () if body is None else (f"content-length: {len(body)}",)
        self.begin(method, path, *framing, *lines)
        if body:
            self.socket.sendall(body)
        status, fields = self.head()
        return status, b"".join(self.body(fields))

    def begin(self, method: str, path: str, *lines: str) -> None:
        self.socket.sendall("\r\n".join((f"{method} {path} HTTP/1.1", "host: a", *lines, "", "")).encode())

    def head(self) -> tuple[int, dict[str, str]]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._more()
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        pairs = (line.partition(":") for line in lines[1:])
        return int(lines[0].split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}

    def body(self, fields: dict[str, str]) -> Iterator[bytes]:
        if fields.get("transfer-encoding") == "chunked":
            while size := int(self._line(), 16):
                yield from self._exactly(size)
                self._line()
            self._line()
        else:
            yield from self._exactly(int(fields.get("content-length", "0")))

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            self._more()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._buffer:
                self._more()
            piece = bytes(self._buffer[:size])
            del self._buffer[:size]
            size -= len(piece)
            yield piece

    def _more(self) -> None:
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the response broke off")
        self._buffer += data
