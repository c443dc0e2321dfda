"""PROXY headers, whole, byte by byte, and broken."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.network.proxy_header import (
    SIGNATURE,
    BadProxyHeader,
    NoProxyHeader,
    ProxyHeader,
    read_proxy_header,
    write_proxy_header,
)


def v2(content: bytes, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(content).to_bytes(2, "big") + content


INET = socket.inet_aton("1.2.3.4") + socket.inet_aton("5.6.7.8") + struct.pack("!HH", 1000, 443)
INET6 = (
    socket.inet_pton(socket.AF_INET6, "::1") + socket.inet_pton(socket.AF_INET6, "fe80::2") + struct.pack("!HH", 1, 2)
)
TLV = b"\xea\x00\x03abc"

GOOD = [
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 1000 443\r\n", 1, ("1.2.3.4", 1000), ("5.6.7.8", 443), ()),
    (b"PROXY TCP6 ::1 fe80::2 1 2\r\n", 1, ("::1", 1), ("fe80::2", 2), ()),
    (b"PROXY UNKNOWN\r\n", 1, None, None, ()),
    (b"PROXY UNKNOWN what ever\r\n", 1, None, None, ()),
    (v2(INET), 2, ("1.2.3.4", 1000), ("5.6.7.8", 443), ()),
    (v2(INET6, family=0x21), 2, ("::1", 1), ("fe80::2", 2), ()),
    (v2(INET + TLV), 2, ("1.2.3.4", 1000), ("5.6.7.8", 443), ((0xEA, b"abc"),)),
    (v2(b"", command=0x20), 2, None, None, ()),
    (v2(bytes(20), command=0x20, family=0), 2, None, None, ()),
    (v2(b"", family=0), 2, None, None, ()),
]


@pytest.mark.parametrize(("data", "version", "source", "destination", "tlvs"), GOOD)
def test_headers(data: bytes, version: int, source: object, destination: object, tlvs: object) -> None:
    expected = ProxyHeader(version, len(data), source, destination, tlvs)  # type: ignore[arg-type]
    assert read_proxy_header(data) == expected
    assert read_proxy_header(data + b"GET /") == expected
    for end in range(len(data)):
        wanted = read_proxy_header(data[:end])
        assert isinstance(wanted, int)
        assert end < wanted <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1000\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 443\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 443\r\n",
        b"PROXY TCP4 ::1 ::2 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 " + b"1" * 120,
        v2(INET, command=0x31),
        v2(INET, command=0x22),
        v2(INET, family=0x12),
        v2(INET, family=0x41),
        v2(INET[:-1]),
        v2(INET + b"\xea\x00\x09abc"),
    ],
)
def test_broken_headers(data: bytes) -> None:
    with pytest.raises(BadProxyHeader):
        read_proxy_header(data)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"PROXYTCP4", b"\r\n\r\nGET", b"proxy tcp4"])
def test_something_else(data: bytes) -> None:
    with pytest.raises(NoProxyHeader):
        read_proxy_header(data)


@given(st.binary(max_size=60), st.sampled_from((b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11")))
def test_no_bytes_do_harm(data: bytes, start: bytes) -> None:
    whole = start + data
    try:
        found = read_proxy_header(whole)
    except (BadProxyHeader, NoProxyHeader):
        return
    assert isinstance(found, ProxyHeader) or found > len(whole)


six = st.ip_addresses(v=6).filter(lambda one: int(one) >> 48)  # others are written in more ways than one
addresses = st.one_of(st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)), st.tuples(six, six))
tlvs = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=20)))


@given(addresses, st.integers(0, 65535), st.integers(0, 65535), tlvs)
def test_what_is_written_can_be_read(
    hosts: tuple[object, object], source: int, destination: int, tlvs: list[tuple[int, bytes]]
) -> None:
    ends = ((str(hosts[0]), source), (str(hosts[1]), destination))
    for version, kept in ((1, ()), (2, tuple(tlvs))):
        written = write_proxy_header(version, *ends, tlvs)
        assert read_proxy_header(written) == ProxyHeader(version, len(written), *ends, kept)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("source", [("/a/path", 0), ("", 0), ("::1", 5)])
def test_what_cannot_be_told_is_not(version: int, source: tuple[str, int]) -> None:
    written = write_proxy_header(version, source, ("127.0.0.1", 80))
    assert read_proxy_header(written) == ProxyHeader(version, len(written))


def test_a_header_has_an_end() -> None:
    many = [(1, bytes(60_000)), (2, bytes(60_000)), (3, b"x")]
    header = read_proxy_header(write_proxy_header(2, ("1.1.1.1", 1), ("2.2.2.2", 2), many))
    assert isinstance(header, ProxyHeader)
    assert [kind for kind, _ in header.tlvs] == [1, 3]
