from __future__ import annotations

import pytest

from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.http.body import HIGH_WATERMARK, Body
from pyproxy.http.h1_options import H1DownstreamOptions
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


# One after the other


def test_requests_follow_each_other_on_a_connection(peer: Peer) -> None:
    for number in range(3):
        peer.send(GET % number)
        assert peer.read() == b""
        ok(peer.handler)
        assert peer.read() == OK % number
        assert peer.handler.events == ["sent"]
    assert not peer.closed
    assert peer.acceptor.open == 1


def test_pipelined_requests_are_answered_in_order(peer: Peer) -> None:
    peer.send(b"".join(GET % number for number in range(5)))
    for number in range(5):
        assert len(peer.acceptor.handlers) == number + 1
        ok(peer.handler)
    assert peer.read() == b"".join(OK % number for number in range(5))
    peer.send(GET % 5)
    ok(peer.handler)
    assert peer.read() == OK % 5


def test_no_more_is_read_while_pipelined_requests_wait(peer: Peer) -> None:
    peer.send(GET % 0)
    assert peer.transport.reading
    peer.send(GET % 1 + GET % 2)
    assert not peer.transport.reading
    ok(peer.handler)
    assert not peer.transport.reading
    ok(peer.handler)
    assert peer.transport.reading
    ok(peer.handler)


def test_thousands_of_pipelined_requests_can_be_answered_at_once(peer: Peer) -> None:
    """Each answer begins the next request, and none may do so from within the one before."""
    count = 5000
    peer.send(GET % 0 + b"".join(GET % (number % 10) for number in range(count)))
    peer.acceptor.at_once = ok
    ok(peer.handler)
    assert peer.read().count(b"HTTP/1.1 200 OK\r\n") == count + 1
    assert peer.transport.reading


def test_a_pipelined_body_keeps_its_source_paused(peer: Peer) -> None:
    peer.send(GET % 0)
    size = HIGH_WATERMARK * 2
    peer.send(b"POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (size + 10) + b"x" * size)
    ok(peer.acceptor.handlers[0])
    assert len(peer.acceptor.handlers) == 2
    assert not peer.transport.reading
    peer.handler.read_body()
    assert peer.transport.reading
    peer.send(b"y" * 10 + GET % 2)
    assert peer.handler.data == b"x" * size + b"y" * 10
    assert peer.handler.events[-2:] == ["body end", "request end"]


def test_a_body_that_ends_while_it_is_held_leaves_the_connection_readable(peer: Peer) -> None:
    size = HIGH_WATERMARK * 2
    peer.send(b"POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size + b"x")
    handler = peer.handler
    peer.send(b"x" * (size - 1))
    handler.read_body()
    ok(handler)
    assert len(handler.data) == size
    peer.send(GET % 2)
    ok(peer.handler)
    assert peer.read().endswith(OK % 2)


# The end of the connection


def test_close_is_honoured_and_what_follows_it_ignored(peer: Peer) -> None:
    peer.send(b"GET /0 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" + GET % 1)
    ok(peer.handler)
    assert peer.read() == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n/0"
    assert len(peer.acceptor.handlers) == 1
    assert peer.closed, "whoever says that nothing more will come is not waited for"
    assert peer.acceptor.open == 0


def test_http10_is_kept_only_if_it_asks(loop: ManualLoop) -> None:
    peer = connect(loop, allow_http10=True)
    peer.send(b"GET /0 HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n")
    ok(peer.handler)
    assert b"connection: keep-alive\r\n" in peer.read()
    peer.send(b"GET /1 HTTP/1.0\r\nhost: a\r\n\r\n")
    ok(peer.handler)
    assert b"connection: close\r\n" in peer.read()
    assert peer.closed


def test_http10_gets_an_end_instead_of_chunks(loop: ManualLoop) -> None:
    peer = connect(loop, allow_http10=True)
    peer.send(b"GET /0 HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n")
    body = Body()
    peer.handler.reply(200, body)
    body.feed(b"abc")
    body.end()
    head, _, rest = peer.read().partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert rest == b"abc"
    assert peer.told_the_end


def test_a_broken_http10_response_is_reset_so_that_it_does_not_look_complete(loop: ManualLoop) -> None:
    peer = connect(loop, allow_http10=True)
    peer.send(b"GET /0 HTTP/1.0\r\nhost: a\r\n\r\n")
    body = Body()
    peer.handler.reply(200, body)
    body.feed(b"abc")
    body.abort(UPSTREAM_GONE)
    assert peer.transport.aborted


def test_the_number_of_requests_may_be_limited(loop: ManualLoop) -> None:
    peer = connect(loop, H1DownstreamOptions(max_requests=2))
    peer.acceptor.at_once = ok
    peer.send(GET % 0)
    assert b"connection: close" not in peer.read()
    peer.send(GET % 1)
    assert b"connection: close" in peer.read()
    assert peer.closed


def test_draining_closes_at_once_what_is_idle_and_the_rest_after_its_response(loop: ManualLoop) -> None:
    idle, busy = connect(loop), connect(loop)
    idle.connection.drain()
    assert idle.closed
    busy.send(GET % 0)
    busy.connection.drain()
    assert not busy.closed
    ok(busy.handler)
    assert b"connection: close\r\n" in busy.read()
    assert busy.told_the_end
    busy.transport.deliver_eof()
    assert busy.closed
    assert busy.connection.info.left


def test_who_was_promised_another_request_gets_it(peer: Peer) -> None:
    """Its next request may be on the way as the end of the response is sent."""
    peer.send(GET % 0)
    body = Body()
    peer.handler.reply(200, body, (b"content-length", b"3"))
    assert b"connection: close" not in peer.read()
    peer.connection.close_after_response()
    body.feed(b"abc")
    body.end()
    assert not peer.closed
    peer.send(GET % 1)
    ok(peer.handler)
    assert b"connection: close\r\n" in peer.read()
    peer.wait(2)
    assert peer.closed


def test_a_downstream_that_closes_gets_no_answer(peer: Peer) -> None:
    peer.send(GET % 0)
    peer.transport.deliver_eof()
    assert peer.closed
    assert peer.handler.events == ["reset"]
    assert peer.handler.reset is not None
    assert peer.handler.reset.flag is ResponseFlag.DOWNSTREAM_CONNECTION_TERMINATION
    assert peer.acceptor.open == 0


def test_a_downstream_that_leaves_in_its_body_aborts_it(peer: Peer) -> None:
    peer.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc")
    peer.handler.read_body()
    peer.transport.lose(ConnectionResetError())
    assert peer.handler.data == b"abc"
    assert "body abort" in peer.handler.events


def test_unread_input_is_taken_for_a_while_so_that_the_response_is_not_lost(peer: Peer) -> None:
    peer.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nabc")
    peer.handler.reply(413, b"no")
    assert b"connection: close" in peer.read()
    assert peer.transport.ended
    assert not peer.closed
    peer.send(b"x" * 500)
    peer.wait(1.1)
    assert peer.closed
    assert len(peer.acceptor.handlers) == 1


def test_a_downstream_that_does_not_read_cannot_keep_a_connection_open(loop: ManualLoop) -> None:
    peer = connect(loop, limit=1000)
    peer.send(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    peer.handler.reply(200, b"x" * 5000)
    loop.run_soon()
    peer.wait(0.5)
    assert not peer.closed
    peer.wait(5)
    assert peer.closed


# Framing


def test_a_body_without_a_length_is_sent_in_chunks_with_its_trailers(loop: ManualLoop) -> None:
    peer = connect(loop, H1DownstreamOptions(trailers=True))
    peer.send(GET % 0)
    body = Body()
    peer.handler.reply(200, body)
    body.feed(b"abc")
    body.feed(b"x" * 5000)
    body.end([(b"a", b"b")])
    head, _, rest = peer.read().partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert rest == b"3\r\nabc\r\n1388\r\n" + b"x" * 5000 + b"\r\n0\r\na: b\r\n\r\n"
    assert peer.handler.info.bytes_sent == 5003
    assert peer.handler.events == ["sent"]


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body(peer: Peer, status: int) -> None:
    peer.send(GET % 0)
    peer.handler.reply(status, None)
    assert peer.read().endswith(b"\r\n\r\n")
    peer.send(GET % 1)
    ok(peer.handler)
    assert peer.read() == OK % 1


def test_the_answer_to_head_has_the_length_and_no_body(peer: Peer) -> None:
    peer.send(b"HEAD /0 HTTP/1.1\r\nhost: a\r\n\r\n")
    peer.handler.reply(200, b"abc")
    assert peer.read() == b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"
    peer.send(GET % 1)
    ok(peer.handler)
    assert peer.read() == OK % 1


def test_a_response_without_a_body_says_so(peer: Peer) -> None:
    peer.send(GET % 0)
    peer.handler.reply(200, None)
    assert peer.read() == b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def test_header_names_may_be_capitalised(loop: ManualLoop) -> None:
    peer = connect(loop, H1DownstreamOptions(proper_case=True))
    peer.send(GET % 0)
    peer.handler.reply(200, b"", (b"x-request-id", b"i"))
    assert peer.read() == b"HTTP/1.1 200 OK\r\nX-Request-Id: i\r\nContent-Length: 0\r\n\r\n"


def test_whoever_waits_is_told_to_continue(peer: Peer) -> None:
    peer.send(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    peer.connection.send_informational(100, peer.handler.info)
    assert peer.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
    peer.send(b"ab")
    peer.handler.read_body()
    ok(peer.handler)
    assert peer.handler.data == b"ab"
    assert peer.read().startswith(b"HTTP/1.1 200 OK")


# Back-pressure


def test_a_slow_downstream_holds_the_response(loop: ManualLoop) -> None:
    peer = connect(loop, limit=1000)
    peer.send(GET % 0)
    body = Body()
    peer.handler.reply(200, body)
    body.feed(b"x" * 2000)
    loop.run_soon()
    for _ in range(100):
        body.feed(b"y" * 2000)
    loop.run_soon()
    assert peer.transport.written.count(b"y") < 4000
    body.end()
    got = b""
    while piece := peer.read():
        got += piece
    assert got.count(b"x") == 2000
    assert got.count(b"y") == 200_000
    assert got.endswith(b"0\r\n\r\n")
    assert peer.handler.events == ["sent"]


# What goes wrong


def test_a_bad_request_is_answered_and_ends_the_connection(peer: Peer) -> None:
    peer.send(b"nonsense\r\n\r\n")
    assert peer.read().startswith(b"HTTP/1.1 400 Bad Request\r\n")
    peer.wait(2)
    assert peer.closed


def test_a_bad_request_behind_a_good_one_waits_for_its_turn(peer: Peer) -> None:
    peer.send(GET % 0 + b"nonsense\r\n\r\n")
    ok(peer.acceptor.handlers[0])
    answers = peer.read()
    assert answers.startswith(OK % 0 + b"HTTP/1.1 400 Bad Request\r\n")
    peer.wait(2)
    assert peer.closed


CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


def test_a_body_that_breaks_the_protocol_is_answered(peer: Peer) -> None:
    peer.send(CHUNKED + b"3\r\nabc\r\n")
    peer.handler.read_body()
    peer.send(b"nonsense\r\n")
    assert peer.handler.reset is not None
    assert peer.handler.reset.flag is ResponseFlag.DOWNSTREAM_PROTOCOL_ERROR
    assert peer.read().startswith(b"HTTP/1.1 400 ")
    peer.wait(2)
    assert peer.closed


def test_a_body_that_breaks_the_protocol_breaks_off_a_response_that_has_begun(peer: Peer) -> None:
    peer.send(CHUNKED + b"3\r\nabc\r\n")
    peer.handler.reply(200, Body())
    assert peer.read().startswith(b"HTTP/1.1 200 ")
    peer.send(b"nonsense\r\n")
    assert peer.closed
    assert peer.handler.reset is not None
    assert peer.acceptor.open == 0


def test_a_response_that_breaks_off_ends_the_connection_without_its_last_chunk(peer: Peer) -> None:
    peer.send(GET % 0)
    body = Body()
    peer.handler.reply(200, body)
    body.feed(b"abc")
    body.abort(UPSTREAM_GONE)
    assert peer.read().endswith(b"\r\n\r\n3\r\nabc\r\n")
    assert peer.closed
    assert peer.handler.events == ["reset"]
    assert peer.handler.reset is UPSTREAM_GONE


def test_a_response_that_breaks_off_for_a_peer_that_does_not_read(loop: ManualLoop) -> None:
    peer = connect(loop, limit=100)
    peer.send(GET % 0)
    body = Body()
    peer.handler.reply(200, body)
    body.feed(b"x" * 1000)
    loop.run_soon()
    body.abort(UPSTREAM_GONE)
    peer.wait(5)
    assert peer.closed
    assert peer.acceptor.open == 0
