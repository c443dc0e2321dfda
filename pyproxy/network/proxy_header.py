"""The PROXY protocol's header: who is behind a load balancer (HAProxy: proxy-protocol.txt, versions 1 and 2).

No sockets: bytes in, `ProxyHeader` out, and the other way.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

Address = tuple[str, int]

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
"""How version 2 begins."""
V1_START: Final = b"PROXY "
_MOST_V1: Final = 107
_HEAD_V2: Final = 16
_LOCAL, _PROXY = 0, 1
_UNSPEC, _INET, _INET6, _UNIX = 0, 1, 2, 3
_STREAM: Final = 1
_UNIX_BYTES: Final = 216
_MOST_CONTENT: Final = 65535


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """`size` bytes of the connection. Addresses are None where the header says to take those of the connection."""

    version: int
    size: int
    source: Address | None = None
    destination: Address | None = None
    tlvs: tuple[tuple[int, bytes], ...] = field(default=())


class NoProxyHeader(Exception):
    """The connection begins with something else."""


class BadProxyHeader(Exception):
    """It begins like a header, and is none."""


def read_proxy_header(data: bytes) -> ProxyHeader | int:
    """The header, or how many bytes there have to be before it makes sense to look again."""
    if data.startswith(SIGNATURE):
        return _read_v2(data)
    if data.startswith(V1_START):
        return _read_v1(data)
    if SIGNATURE.startswith(data) or V1_START.startswith(data):
        return len(data) + 1
    raise NoProxyHeader


def _read_v1(data: bytes) -> ProxyHeader | int:
    end = data.find(b"\r\n", 0, _MOST_V1)
    if end < 0:
        if len(data) >= _MOST_V1:
            raise BadProxyHeader("the line is too long")
        return len(data) + 1
    words = data[:end].split(b" ")
    size = end + 2
    if words[1] == b"UNKNOWN":
        return ProxyHeader(1, size)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise BadProxyHeader("not PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT")
    version = 4 if words[1] == b"TCP4" else 6
    source, destination = (_address_of(word, version) for word in words[2:4])
    return ProxyHeader(1, size, (source, _port(words[4])), (destination, _port(words[5])))


def _address_of(word: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(word.decode("ascii"))
    except ValueError as error:
        raise BadProxyHeader("not an IP address") from error
    if address.version != version:
        raise BadProxyHeader("an address of the other family")
    return str(address)


def _port(word: bytes) -> int:
    """`int` takes signs, underscores and blanks; a port has none."""
    if not word or len(word) > 5 or word.translate(None, b"0123456789") or int(word) > 65535:
        raise BadProxyHeader("not a port")
    return int(word)


def _read_v2(data: bytes) -> ProxyHeader | int:
    if len(data) < _HEAD_V2:
        return _HEAD_V2
    version, command = data[12] >> 4, data[12] & 15
    family, transport = data[13] >> 4, data[13] & 15
    size = _HEAD_V2 + int.from_bytes(data[14:16], "big")
    if version != 2 or command not in (_LOCAL, _PROXY):
        raise BadProxyHeader("an unknown version or command")
    if command == _PROXY and family != _UNSPEC and (family > _UNIX or transport != _STREAM):
        raise BadProxyHeader("an unknown family or transport")
    if len(data) < size:
        return size
    content = data[_HEAD_V2:size]
    if command == _LOCAL or family == _UNSPEC:
        return ProxyHeader(2, size)
    if family == _UNIX:
        return ProxyHeader(2, size, tlvs=_tlvs(content[_UNIX_BYTES:]))
    width = 4 if family == _INET else 16
    addresses = 2 * width + 4
    if len(content) < addresses:
        raise BadProxyHeader("the addresses are cut short")
    kind = socket.AF_INET if family == _INET else socket.AF_INET6
    hosts = [socket.inet_ntop(kind, content[at : at + width]) for at in (0, width)]
    ports = [int.from_bytes(content[at : at + 2], "big") for at in (2 * width, 2 * width + 2)]
    return ProxyHeader(2, size, (hosts[0], ports[0]), (hosts[1], ports[1]), _tlvs(content[addresses:]))


def write_proxy_header(
    version: int, source: Address, destination: Address, tlvs: Iterable[tuple[int, bytes]] = ()
) -> bytes:
    """What `read_proxy_header` reads. Addresses that are no IP, or of two families, are not told."""
    try:
        hosts = [ipaddress.ip_address(host.partition("%")[0]) for host, _ in (source, destination)]
    except ValueError:
        return local_header(version)
    if hosts[0].version != hosts[1].version:
        return local_header(version)
    ports = (source[1], destination[1])
    if version == 1:
        return f"PROXY TCP{hosts[0].version} {hosts[0]} {hosts[1]} {ports[0]} {ports[1]}\r\n".encode()
    family = _INET if hosts[0].version == 4 else _INET6
    content = hosts[0].packed + hosts[1].packed + struct.pack("!HH", *ports)
    for kind, value in tlvs:
        if len(content) + 3 + len(value) <= _MOST_CONTENT:
            content += struct.pack("!BH", kind, len(value)) + value
    return SIGNATURE + struct.pack("!BBH", 0x20 | _PROXY, family << 4 | _STREAM, len(content)) + content


def local_header(version: int) -> bytes:
    """Of a connection that nobody else is behind."""
    if version == 1:
        return b"PROXY UNKNOWN\r\n"
    return SIGNATURE + struct.pack("!BBH", 0x20 | _LOCAL, _UNSPEC, 0)


def _tlvs(data: bytes) -> tuple[tuple[int, bytes], ...]:
    found = []
    while data:
        size = int.from_bytes(data[1:3], "big")
        if len(data) < 3 + size:
            raise BadProxyHeader("a TLV is cut short")
        found.append((data[0], data[3 : 3 + size]))
        data = data[3 + size :]
    return tuple(found)
