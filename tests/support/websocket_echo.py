"""A WebSocket server that gives back every message, and holds its client to RFC 6455.

What it says depends on the bytes that came and on nothing else, not on how they were cut or on when they came.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
from collections.abc import Iterator

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_NORMAL, _VIOLATION, _NOT_TEXT = 1000, 1002, 1007


class _Over(Exception):
    """With the code to say so with; None to say none."""

    def __init__(self, code: int | None) -> None:
        self.code = code


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, reserved: int = 0, mask: bytes = b"") -> bytes:
    """RFC 6455 section 5.2."""
    size = len(payload)
    head, masked = bytes((final << 7 | reserved << 4 | opcode,)), bool(mask) << 7
    if size < 126:
        head += bytes((masked | size,))
    elif size < 65_536:
        head += struct.pack("!BH", masked | 126, size)
    else:
        head += struct.pack("!BQ", masked | 127, size)
    return head + mask + _masked(payload, mask)


def serve(sock: socket.socket) -> None:
    """For `tcp_peer.Peer`."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1) or b"\r\n\r\n"
    key = next(
        (line[19:].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: ")), b""
    )
    accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest())
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-accept: %b\r\n\r\n" % accept
    )
    try:
        for answer in _answers(_Reader(sock)):
            sock.sendall(answer)
    except _Over as over:
        sock.sendall(frame(CLOSE, b"" if over.code is None else struct.pack("!H", over.code)))
    except EOFError:
        return
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(65_536):  # closing with unread bytes would send RST, which can overtake what was said
        pass


class _Reader:
    def __init__(self, sock: socket.socket) -> None:
        self._file = sock.makefile("rb")

    def take(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError
        return data


def _answers(reader: _Reader) -> Iterator[bytes]:
    message, kind = bytearray(), 0
    while True:
        final, opcode, payload = _read(reader)
        if opcode == CLOSE:
            raise _Over(_close_code(payload))
        if opcode == PING:
            yield frame(PONG, payload)
        elif opcode in (TEXT, BINARY, CONTINUATION):
            if (opcode == CONTINUATION) != bool(kind):
                raise _Over(_VIOLATION)
            kind = kind or opcode
            message += payload
            if final:
                if kind == TEXT:
                    _check_text(bytes(message))
                yield frame(kind, bytes(message))
                message, kind = bytearray(), 0


def _read(reader: _Reader) -> tuple[bool, int, bytes]:
    first, second = reader.take(2)
    final, opcode, size = bool(first & 0x80), first & 0xF, second & 0x7F
    control = opcode >= CLOSE
    bad = first & 0x70 or opcode in (3, 4, 5, 6, 7) or opcode > PONG or not second & 0x80
    if bad or (control and (not final or size > 125)):
        raise _Over(_VIOLATION)
    if size >= 126:
        width = 2 if size == 126 else 8
        size = int.from_bytes(reader.take(width), "big")
        if size >> 63 or size < (126 if width == 2 else 65_536):
            raise _Over(_VIOLATION)
    mask = reader.take(4)
    return final, opcode, _masked(reader.take(size), mask)


def _close_code(payload: bytes) -> int | None:
    if not payload:
        return None
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (1000 <= code <= 1011 or 3000 <= code < 5000) or code in (1004, 1005, 1006):
        return _VIOLATION
    _check_text(payload[2:])
    return code


def _check_text(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError:
        raise _Over(_NOT_TEXT) from None


def _masked(payload: bytes, mask: bytes) -> bytes:
    if not mask:
        return payload
    size = len(payload)
    long = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(long, "big")).to_bytes(size, "big")
