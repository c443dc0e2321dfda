"""ClientHellos that real clients make, whole, byte by byte, and broken."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.network.client_hello import ClientHello, NotTls, read_client_hello


def hello(name: str | None = None, *alpn: str) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(list(alpn))
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    """Another name of the same length, such as one that Python would not send."""
    assert len(old) == len(new)
    assert data.count(old) == 1
    return data.replace(old, new)


def read(data: bytes) -> ClientHello | int:
    """As bytes come in: never asked for less than there is."""
    wanted = 1
    while wanted <= len(data):
        found = read_client_hello(data[:wanted])
        if isinstance(found, ClientHello):
            return found
        assert found > wanted or wanted == 0
        wanted = found
    return wanted


@pytest.mark.parametrize(
    ("name", "alpn"),
    [(None, ()), ("a.test", ()), ("A.Test", ("h2", "http/1.1")), ("b." + "c" * 60 + ".test", ("istio",))],
)
def test_what_a_real_client_says(name: str | None, alpn: tuple[str, ...]) -> None:
    data = hello(name, *alpn)
    assert read_client_hello(data) == ClientHello((name or "").lower(), alpn)
    assert read(data) == ClientHello((name or "").lower(), alpn)
    for end in range(len(data)):
        wanted = read_client_hello(data[:end])
        assert isinstance(wanted, int)
        assert end < wanted <= len(data)


@pytest.mark.parametrize(
    "odd", [b"under_score.x", b"a..b.test.txx", b"\xe4\xf6.test.xxxxx", b".............", b"bad\r\nname.xxx"]
)
def test_names_are_taken_as_they_are(odd: bytes) -> None:
    data = renamed(hello("abcdefghi.com"), b"abcdefghi.com", odd)
    found = read_client_hello(data)
    assert isinstance(found, ClientHello)
    assert found.server_name == odd.decode("latin-1").lower()


def test_a_message_in_many_records() -> None:
    data = hello("a.test", "h2")
    body = data[5:]
    pieces = [body[at : at + 50] for at in range(0, len(body), 50)]
    split = b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    assert read(split) == ClientHello("a.test", ("h2",))


@pytest.mark.parametrize(
    "data",
    [
        b"G",
        b"GET / HTTP/1.1\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x16\x02\x01\x00\x05aaaaa",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
        b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03",
    ],
)
def test_what_is_not_tls(data: bytes) -> None:
    with pytest.raises(NotTls):
        read_client_hello(data)


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=400), st.integers(min_value=0, max_value=255))
def test_no_bytes_do_harm(data: bytes, at: int, value: int) -> None:
    broken = bytearray(hello("a.test", "h2"))
    broken[at % len(broken)] = value
    for one in (data, b"\x16\x03\x01" + data, bytes(broken)):
        try:
            found = read_client_hello(one)
        except NotTls:
            continue
        assert isinstance(found, ClientHello) or found > len(one)
