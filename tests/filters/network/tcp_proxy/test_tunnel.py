from __future__ import annotations

import pytest

from pyproxy.config.format import parse_header_format
from pyproxy.filters.network.tcp_proxy.config import TunnelConfig
from pyproxy.filters.network.tcp_proxy.tunnel import BadTunnel, ConnectTunnel, PostTunnel, TunnelMaker
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.telemetry.formatter import build_bytes_formatter


def connect() -> ConnectTunnel:
    return ConnectTunnel(b"a.test:1", Headers([(b"x", b"y")]))


def post() -> PostTunnel:
    return PostTunnel(b"a.test", b"/p", Headers())


def test_what_opens_a_tunnel() -> None:
    assert connect().opening == b"CONNECT a.test:1 HTTP/1.1\r\nhost: a.test:1\r\nx: y\r\n\r\n"
    assert post().opening == b"POST /p HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "status", "inside"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nabc", 200, b"abc"),
        (b"HTTP/1.0 200\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\nabc", 200, b"abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", 407, b""),
        (b"HTTP/1.1 101 Switching\r\n\r\n", 101, b""),
    ],
)
def test_the_answer_to_connect_may_come_in_pieces(answer: bytes, status: int, inside: bytes) -> None:
    whole = connect()
    assert whole.answer(answer) == status
    assert whole.unwrap(b"more") == (inside + b"more", False)
    pieces, found = connect(), 0
    for at in range(len(answer) - len(inside)):
        assert found == 0
        found = pieces.answer(answer[at : at + 1])
    assert found == status
    assert pieces.unwrap(inside) == (inside, False)


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0\r\n\r\n", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1 20\r\n\r\n", b"x" * 70_000],
)
def test_what_is_no_answer(answer: bytes) -> None:
    with pytest.raises(BadTunnel):
        connect().answer(answer)


def test_through_bodies_in_chunks() -> None:
    tunnel = post()
    assert tunnel.answer(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n") == 200
    assert tunnel.unwrap(b"") == (b"abc", False)
    assert tunnel.wrap(b"hello") == b"5\r\nhello\r\n"
    assert tunnel.unwrap(b"1\r\nd\r\n0\r\n\r\n") == (b"d", True)
    assert tunnel.end() == b"0\r\n\r\n"


def test_a_broken_body_ends_it() -> None:
    tunnel = post()
    assert tunnel.answer(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n") == 200
    with pytest.raises(BadTunnel):
        tunnel.unwrap(b"xyz\r\n")


@pytest.mark.parametrize("host", ["", "a b", "%REQ(x)%", "\u00e4"])
def test_a_name_is_needed(host: str) -> None:
    fmt = parse_header_format(host)
    maker = TunnelMaker(TunnelConfig(fmt), build_bytes_formatter(fmt), None)
    session = Request(b"", b"", b"", Headers(), StreamInfo(0.0, 0.0, ConnectionInfo()))
    with pytest.raises(BadTunnel, match="no host name"):
        maker.make(session)
