"""Reads the ClientHello at the beginning of a TLS connection without taking part in it. No sockets.

What is wanted of it is the name of the server (RFC 6066 section 3) and the protocols on offer (RFC 7301). Names are
taken as they are: labels of 64 bytes and more, or with underscores, name a filter chain like any others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HANDSHAKE: Final = 0x16
"""The first byte of a TLS connection: a record of the handshake (RFC 8446 section 5.1)."""
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_ALPN: Final = 16
_MOST_RECORD: Final = 16 * 1024
_RECORD_HEAD: Final = 5
_HANDSHAKE_HEAD: Final = 4


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The name is lower case, empty where there is none."""

    server_name: str = ""
    application_protocols: tuple[str, ...] = ()


class NotTls(Exception):
    """The bytes are no ClientHello, and more of them would not make one."""


def read_client_hello(data: bytes) -> ClientHello | int:
    """What the hello says, or how many bytes there have to be before it makes sense to look again."""
    if not data:
        return 1
    if data[0] != HANDSHAKE:
        raise NotTls("not a handshake")
    message = bytearray()
    position, wanted = 0, _HANDSHAKE_HEAD
    while len(message) < wanted:  # a message may be spread over several records
        head = data[position : position + _RECORD_HEAD]
        if len(head) < _RECORD_HEAD:
            _check_start(head)
            return position + _RECORD_HEAD
        _check_start(head)
        size = int.from_bytes(head[3:5], "big")
        if not 0 < size <= _MOST_RECORD:
            raise NotTls("a record of impossible size")
        end = position + _RECORD_HEAD + size
        if len(data) < end:
            return end
        message += data[position + _RECORD_HEAD : end]
        position = end
        if len(message) >= _HANDSHAKE_HEAD:
            if message[0] != _CLIENT_HELLO:
                raise NotTls("another handshake message")
            wanted = _HANDSHAKE_HEAD + int.from_bytes(message[1:4], "big")
    return _read_hello(_Reader(bytes(message[_HANDSHAKE_HEAD:wanted])))


def _check_start(head: bytes) -> None:
    if head[:1] not in (b"", b"\x16") or head[1:2] not in (b"", b"\x03"):
        raise NotTls("not a handshake")


class _Reader:
    """Takes fields off the front. Raises NotTls at the end."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise NotTls("cut short")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, length_size: int) -> _Reader:
        return _Reader(self.take(self.number(length_size)))


def _read_hello(hello: _Reader) -> ClientHello:
    """RFC 8446 section 4.1.2; the same shape since TLS 1.0."""
    hello.take(2 + 32)  # version, random
    hello.vector(1)  # session
    hello.vector(2)  # cipher suites
    hello.vector(1)  # compression methods
    name = ""
    protocols: tuple[str, ...] = ()
    extensions = hello.vector(2) if hello.left else hello
    seen: set[int] = set()
    while extensions.left:
        kind, content = extensions.number(2), extensions.vector(2)
        if kind in seen:
            raise NotTls("an extension stands twice")
        seen.add(kind)
        if kind == _SERVER_NAME:
            name = _read_name(content)
        elif kind == _ALPN:
            protocols = _read_protocols(content)
    return ClientHello(name, protocols)


def _read_name(content: _Reader) -> str:
    names = content.vector(2)
    while names.left:
        kind, name = names.number(1), names.vector(2)
        if kind == 0:
            return name.take(name.left).decode("latin-1").lower()
    return ""


def _read_protocols(content: _Reader) -> tuple[str, ...]:
    names, found = content.vector(2), []
    while names.left:
        name = names.vector(1)
        found.append(name.take(name.left).decode("latin-1"))
    return tuple(found)
