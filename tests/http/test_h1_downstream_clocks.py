"""The clocks of a downstream HTTP/1 connection."""

from __future__ import annotations

import pytest

from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.http.body import Body
from pyproxy.http.h1_options import H1DownstreamOptions
from pyproxy.tasks import Deadlines
from tests.http.h1_downstream_peer import Peer, connect
from tests.http.handlers import ok
from tests.support.loop import ManualLoop

GET = b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n/%d"
UPSTREAM_GONE = ProxyError(ResponseFlag.UPSTREAM_CONNECTION_TERMINATION, Source.UPSTREAM, 503, "gone", body=b"gone")


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> ManualLoop:
    return ManualLoop.ticking(monkeypatch)


@pytest.fixture
def peer(loop: ManualLoop) -> Peer:
    return connect(loop)


def test_an_idle_connection_is_closed_when_it_has_been_idle_for_so_long(loop: ManualLoop) -> None:
    peer = connect(loop, H1DownstreamOptions(idle=Deadlines(loop, 10.0)))
    peer.acceptor.at_once = ok
    for _ in range(4):
        peer.wait(6)
        peer.send(GET % 0)
    peer.wait(9.5)
    assert not peer.closed
    peer.wait(1)
    assert peer.closed


def test_a_request_that_outlasts_the_idle_clock_does_not_switch_it_off(loop: ManualLoop) -> None:
    peer = connect(loop, H1DownstreamOptions(idle=Deadlines(loop, 10.0)))
    peer.send(GET % 0)
    peer.wait(55)
    assert not peer.closed
    ok(peer.handler)
    peer.wait(9.5)
    assert not peer.closed
    peer.wait(1)
    assert peer.closed


def test_a_stream_without_progress_is_ended(loop: ManualLoop) -> None:
    peer = connect(loop, H1DownstreamOptions(stream_idle=Deadlines(loop, 10.0)))
    peer.wait(99)
    peer.send(GET % 0)
    peer.wait(9.5)
    assert peer.handler.events == []
    peer.wait(1)
    assert peer.read().startswith(b"HTTP/1.1 504 ")
    assert peer.handler.reset is not None
    assert peer.handler.reset.flag is ResponseFlag.STREAM_IDLE_TIMEOUT


def test_the_stream_clock_runs_for_each_request(loop: ManualLoop) -> None:
    peer = connect(loop, H1DownstreamOptions(stream_idle=Deadlines(loop, 10.0)))
    for _ in range(3):
        peer.send(GET % 0)
        peer.wait(9)
        ok(peer.handler)
        peer.wait(25)
    peer.read()
    peer.send(GET % 1)
    peer.wait(11)
    assert peer.read().startswith(b"HTTP/1.1 504 ")


def test_every_byte_restarts_the_stream_clock(loop: ManualLoop) -> None:
    peer = connect(loop, H1DownstreamOptions(stream_idle=Deadlines(loop, 10.0)))
    peer.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n")
    for _ in range(5):
        peer.wait(9)
        peer.send(b"x")
    peer.wait(9)
    body = Body()
    peer.handler.reply(200, body)
    for _ in range(5):
        peer.wait(9)
        body.feed(b"y")
    assert peer.handler.reset is None
    peer.wait(11)
    assert peer.handler.reset is not None
    assert peer.closed


def test_a_request_that_is_late_with_its_body_gets_408(loop: ManualLoop) -> None:
    peer = connect(loop, H1DownstreamOptions(stream_idle=Deadlines(loop, 10.0)))
    peer.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n")
    peer.wait(11)
    assert peer.read().startswith(b"HTTP/1.1 408 ")


def test_a_head_has_its_own_clock(loop: ManualLoop) -> None:
    peer = connect(loop, H1DownstreamOptions(request_headers=Deadlines(loop, 2.0)))
    peer.wait(50)
    for piece in (b"GET / HT", b"TP/1.1\r\nhost: a\r\n"):
        peer.send(piece)
        peer.wait(0.9)
    assert peer.read() == b""
    peer.wait(0.3)
    assert peer.read().startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_a_head_that_came_in_time_leaves_no_clock_behind(loop: ManualLoop) -> None:
    peer = connect(loop, H1DownstreamOptions(request_headers=Deadlines(loop, 2.0)))
    peer.acceptor.at_once = ok
    for _ in range(3):
        peer.send(b"GET /0 HT")
        peer.wait(1.5)
        peer.send(b"TP/1.1\r\nhost: a\r\n\r\n")
        assert peer.read() == OK % 0
    peer.wait(50)
    assert peer.read() == b""
    assert not peer.closed


def test_a_connection_may_not_live_for_ever(loop: ManualLoop) -> None:
    peer = connect(loop, H1DownstreamOptions(max_duration=Deadlines(loop, 10.0)))
    peer.send(GET % 0)
    peer.wait(11)
    assert not peer.closed
    ok(peer.handler)
    assert b"connection: close\r\n" in peer.read()
    assert peer.closed


def test_a_closed_connection_has_no_clocks(loop: ManualLoop) -> None:
    clocks = [Deadlines(loop, 10.0 + n) for n in range(5)]
    peer = connect(loop, H1DownstreamOptions(*clocks))
    peer.send(b"GET / H")
    peer.transport.lose()
    assert [len(one) for one in clocks] == [0] * 5
