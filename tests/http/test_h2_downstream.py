from __future__ import annotations

from functools import partial

import pytest

from pyproxy.config.http2 import H2Keepalive, H2Options
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.http.body import HIGH_WATERMARK, Body
from pyproxy.http.h2_downstream import H2Downstream, H2DownstreamOptions
from pyproxy.http.h2_guard import FrameGuard
from pyproxy.http.h2_keepalive import Keepalive
from pyproxy.http.h2_session import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    SessionOptions,
)
from pyproxy.network.cork import Cork
from pyproxy.tasks import Deadlines
from tests.http.h2_peer import (
    ENGINE_IDS,
    ENGINES,
    GET,
    POST,
    PREFACE,
    Engine,
    Wire,
    data,
    headers,
    ping,
    reset,
    settings,
    window_update,
)
from tests.http.handlers import Acceptor, Handler, ok
from tests.support.loop import ManualLoop
from tests.support.transport import ManualTransport

UPSTREAM_GONE = ProxyError(ResponseFlag.UPSTREAM_CONNECTION_TERMINATION, Source.UPSTREAM, 503, "gone", body=b"gone")


class Peer(Wire):
    """A downstream and the proxy's end of its connection."""

    def __init__(
        self,
        loop: ManualLoop,
        engine: Engine,
        options: H2DownstreamOptions,
        limit: float = float("inf"),
        **session: int,
    ) -> None:
        super().__init__()
        self.loop = loop
        self.acceptor = Acceptor()
        own = engine.new(True, SessionOptions(**session))  # type: ignore[arg-type]
        guard = FrameGuard(H2Options(), 60, server=True)
        self.connection = H2Downstream(Cork(loop), own, guard, self.acceptor, options)
        self.transport = ManualTransport(self.connection, limit)
        self.send(PREFACE + settings(), settings(ack=True))
        self.frames.clear()

    def send(self, *parts: bytes) -> None:
        self.transport.deliver(b"".join(parts))
        self.read()

    def read(self) -> None:
        self.loop.run_soon()
        while out := self.transport.read():
            self.take(out)
            self.loop.run_soon()
        self.transport.settle()

    def wait(self, seconds: float) -> None:
        self.loop.advance(seconds)
        self.read()

    def do(self, action: object) -> None:
        action()  # type: ignore[operator]
        self.read()

    @property
    def handlers(self) -> list[Handler]:
        return self.acceptor.handlers

    @property
    def closed(self) -> bool:
        self.read()
        return self.transport.lost or self.transport.ended


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> ManualLoop:
    return ManualLoop.ticking(monkeypatch)


@pytest.fixture(params=ENGINES, ids=ENGINE_IDS)
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.param
    return found


@pytest.fixture
def peer(loop: ManualLoop, engine: Engine) -> Peer:
    return Peer(loop, engine, H2DownstreamOptions(delayed_close=Deadlines(loop, 1.0)))


def status(peer: Peer, stream: int) -> bytes:
    return peer.headers[stream][0][0][1]


# Requests and responses


def test_requests_at_the_same_time(peer: Peer) -> None:
    peer.send(*(peer.head(stream, [*GET[:3], (b":path", b"/%d" % stream)]) for stream in (1, 3, 5)))
    assert peer.acceptor.versions == ["HTTP/2"]
    assert peer.connection.active == 3
    for handler in reversed(peer.handlers):
        ok(handler)
    peer.read()
    assert peer.data == {1: b"/1", 3: b"/3", 5: b"/5"}
    assert peer.ended == {1, 3, 5}
    assert [handler.events for handler in peer.handlers] == [["sent"]] * 3
    assert peer.connection.streams == {}
    assert not peer.closed


def test_what_the_head_says(peer: Peer) -> None:
    fields = [(b"host", b"other"), (b"cookie", b"a=1"), (b"x", b"1"), (b"cookie", b"b=2"), (b"expect", b"100-continue")]
    peer.send(peer.head(1, [*POST, *fields], ended=False))
    head = peer.handlers[0].head
    assert head is not None
    assert (head.method, head.target, head.host, head.scheme) == (b"POST", b"/", b"a", b"http")
    assert head.version == "HTTP/2"
    assert head.expect_continue
    assert list(head.headers) == [(b"x", b"1"), (b"expect", b"100-continue"), (b"cookie", b"a=1; b=2")]
    peer.send(peer.head(3, [POST[0], POST[1], POST[3], (b"host", b"other")]))
    second = peer.handlers[1].head
    assert second is not None
    assert second.host == b"other"


def test_a_small_request_is_here_as_a_whole(peer: Peer) -> None:
    peer.send(peer.head(1, POST, ended=False), data(1, b"abc", ended=True))
    body = peer.handlers[0].body
    assert body is not None
    assert (body.ended, body.take()) == (True, b"abc")


def test_a_body_goes_on_as_it_comes(peer: Peer) -> None:
    peer.send(peer.head(1, POST, ended=False))
    handler = peer.handlers[0]
    handler.read_body()
    peer.send(data(1, b"ab"))
    peer.send(data(1, b"cd"), peer.head(1, [(b"t", b"1")]))
    assert handler.data == b"abcd"
    assert handler.events == ["data 2", "data 2", "body end", "request end"]
    assert handler.body is not None
    assert handler.body.trailers == [(b"t", b"1")]


def test_nobody_is_told_to_send_more_of_what_nobody_takes(peer: Peer) -> None:
    peer.send(peer.head(1, POST, ended=False))
    piece = data(1, b"z" * 16_000)
    for _ in range(16):
        peer.send(piece)
    body = peer.handlers[0].body
    assert body is not None
    assert body.stopped
    told = sum(made.window_increment for made in peer.frames if made.stream_id == 1)
    assert told <= HIGH_WATERMARK + 16_000
    peer.do(peer.handlers[0].read_body)
    told = sum(made.window_increment for made in peer.frames if made.stream_id == 1)
    assert told > 16 * 16_000 - HIGH_WATERMARK
    assert len(peer.handlers[0].data) == 16 * 16_000


def test_a_peer_that_does_not_read_holds_the_source(peer: Peer) -> None:
    peer.send(peer.head(1, GET))
    body = Body(source := Source_())
    peer.do(lambda: peer.handlers[0].reply(200, body))
    for _ in range(5):
        body.feed(b"x" * 50_000)
    peer.read()
    assert source.paused
    assert len(peer.data[1]) == 65_535
    for _ in range(5):
        peer.send(window_update(1, 50_000), window_update(0, 50_000))
    assert not source.paused
    assert len(peer.data[1]) == 250_000
    body.end([(b"grpc-status", b"0")])
    peer.read()
    assert peer.headers[1][1:] == [[(b"grpc-status", b"0")]]
    assert peer.handlers[0].events == ["sent"]


class Source_:  # noqa: N801 - a body's
    def __init__(self) -> None:
        self.paused = False
        self.cancelled: list[ProxyError] = []

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def cancel_body(self, error: ProxyError) -> None:
        self.cancelled.append(error)


def test_a_socket_that_is_full_holds_the_source(loop: ManualLoop, engine: Engine) -> None:
    peer = Peer(loop, engine, H2DownstreamOptions(), limit=100_000)
    peer.send(peer.head(1, GET), settings({4: 1 << 24}), window_update(0, 1 << 24))
    body = Body(source := Source_())
    peer.handlers[0].reply(200, body)
    for _ in range(40):
        body.feed(b"x" * 10_000)
        loop.run_soon()
    assert source.paused
    assert len(peer.transport.written) < 300_000
    peer.read()
    assert not source.paused
    assert len(peer.data[1]) == 400_000


def test_responses_that_have_no_body(peer: Peer) -> None:
    peer.send(peer.head(1, [(b":method", b"HEAD"), *GET[1:]]), peer.head(3, GET), peer.head(5, GET))
    peer.do(lambda: peer.handlers[0].reply(200, b"abc"))
    peer.do(lambda: peer.handlers[1].reply(204, b"abc"))
    peer.do(lambda: peer.handlers[2].reply(200, None))
    assert peer.data == {}
    assert peer.ended == {1, 3, 5}
    assert (b"content-length", b"3") in peer.headers[1][0]
    assert (b"content-length", b"3") not in peer.headers[3][0]


def test_an_interim_response(peer: Peer) -> None:
    peer.send(peer.head(1, POST, ended=False))
    peer.do(lambda: peer.handlers[0].stream.send_informational(100, peer.handlers[0].info))
    assert peer.headers[1] == [[(b":status", b"100")]]


def test_an_answer_that_does_not_wait_for_the_request(peer: Peer) -> None:
    peer.send(peer.head(1, POST, ended=False))
    peer.do(lambda: ok(peer.handlers[0]))
    assert peer.ended == {1}
    assert peer.resets() == [(1, NO_ERROR)]
    peer.send(data(1, b"late"), data(1, b"later", ended=True), peer.head(3, GET))
    assert len(peer.handlers) == 2


def test_a_response_that_breaks_off(peer: Peer) -> None:
    peer.send(peer.head(1, GET))
    body = Body()
    peer.do(lambda: peer.handlers[0].reply(200, body))
    peer.do(lambda: body.abort(UPSTREAM_GONE))
    assert peer.resets() == [(1, INTERNAL_ERROR)]
    assert peer.handlers[0].reset is UPSTREAM_GONE
    peer.send(peer.head(3, GET))
    assert len(peer.handlers) == 2


# How streams and connections end


def test_a_downstream_that_resets_its_stream(peer: Peer) -> None:
    peer.send(peer.head(1, GET), peer.head(3, GET))
    peer.send(reset(1, CANCEL))
    assert peer.handlers[0].reset is not None
    assert peer.handlers[0].reset.flag is ResponseFlag.DOWNSTREAM_REMOTE_RESET
    assert peer.handlers[1].reset is None
    peer.do(lambda: ok(peer.handlers[1]))
    assert peer.ended == {3}


def test_a_downstream_that_goes(peer: Peer) -> None:
    peer.send(peer.head(1, GET), peer.head(3, POST, ended=False))
    peer.transport.lose()
    assert [handler.events[-1] for handler in peer.handlers] == ["reset", "reset"]
    assert peer.acceptor.open == 0


def test_leaving_in_order(loop: ManualLoop, engine: Engine) -> None:
    peer = Peer(loop, engine, H2DownstreamOptions(delayed_close=Deadlines(loop, 1.0), drain=Deadlines(loop, 5.0)))
    peer.send(peer.head(1, GET))
    peer.do(peer.connection.close_after_response)
    assert peer.goaways() == [((1 << 31) - 1, NO_ERROR)]
    peer.send(peer.head(3, GET))
    assert len(peer.handlers) == 2
    peer.wait(5.1)
    assert peer.goaways()[1:] == [(3, NO_ERROR)]
    peer.send(peer.head(5, GET))
    assert len(peer.handlers) == 2
    assert not peer.closed
    for handler in peer.handlers:
        ok(handler)
    assert peer.closed
    assert peer.ended == {1, 3}


def test_drained_at_once_if_nothing_is_going_on(peer: Peer) -> None:
    peer.do(peer.connection.drain)
    assert peer.goaways() == [(0, NO_ERROR)]
    assert peer.closed


def test_a_malformed_request_ends_the_connection(peer: Peer) -> None:
    peer.send(peer.head(1, GET), peer.head(3, [*GET, (b"X", b"1")]))
    assert peer.goaways()[-1][1] == PROTOCOL_ERROR
    assert peer.closed
    assert peer.handlers[1].refusal is not None
    assert peer.handlers[1].events == ["reset"]


def test_a_malformed_request_may_end_its_stream_only(loop: ManualLoop, engine: Engine) -> None:
    peer = Peer(loop, engine, H2DownstreamOptions(stream_errors=True))
    peer.send(peer.head(1, GET), peer.head(3, [*GET, (b"X", b"1")]))
    assert peer.resets() == [(3, PROTOCOL_ERROR)]
    peer.do(lambda: ok(peer.handlers[0]))
    assert peer.ended == {1}
    assert not peer.closed


def test_a_head_that_is_too_large_ends_its_stream_only(peer: Peer) -> None:
    peer.send(peer.head(1, [*GET, *[(b"x", b"1")] * 101]), peer.head(3, GET))
    assert peer.resets() == [(1, INTERNAL_ERROR)]
    assert not peer.closed


def test_a_flood_is_told_and_ended(peer: Peer) -> None:
    peer.send(peer.head(1, GET), ping() * 1001)
    assert peer.goaways()[-1][1] == ENHANCE_YOUR_CALM
    assert peer.closed
    assert peer.handlers[0].reset is None or peer.handlers[0].events == ["reset"]
    assert peer.acceptor.counted == ["downstream_cx_protocol_error"]


def test_a_peer_that_does_not_read_the_end_is_cut_off(loop: ManualLoop, engine: Engine) -> None:
    peer = Peer(loop, engine, H2DownstreamOptions(delayed_close=Deadlines(loop, 1.0)), limit=10)
    peer.transport.deliver(ping() * 600)
    loop.run_soon()
    assert peer.connection.write_blocked
    peer.transport.deliver(ping() * 1001)
    loop.run_soon()
    assert not peer.transport.lost
    loop.advance(2.1)
    peer.transport.settle()
    assert peer.transport.lost


def test_streams_that_are_reset_as_soon_as_they_began(peer: Peer) -> None:
    """CVE-2023-44487."""
    opened = 0
    while not peer.connection.closed and not peer.goaways() and opened < 1000:
        stream = 2 * opened + 1
        peer.send(peer.head(stream, GET), reset(stream))
        opened += 1
    assert opened == 250
    assert peer.goaways()[-1][1] == ENHANCE_YOUR_CALM
    assert peer.acceptor.counted == ["downstream_rq_too_many_premature_resets"]


def test_of_many_that_come_at_once_few_are_begun(peer: Peer) -> None:
    flood = [part for stream in range(1, 8001, 2) for part in (peer.head(stream, GET), reset(stream))]
    peer.send(*flood)
    assert 250 <= len(peer.handlers) < 700
    assert peer.goaways()[-1][1] == ENHANCE_YOUR_CALM


def test_many_requests_that_come_at_once_are_all_answered(peer: Peer) -> None:
    peer.send(*(peer.head(stream, GET) for stream in range(1, 201, 2)))
    assert len(peer.handlers) == 100
    for handler in peer.handlers:
        ok(handler)
    peer.read()
    assert len(peer.ended) == 100


def test_streams_that_are_too_many_at_a_time_are_an_attack(loop: ManualLoop, engine: Engine) -> None:
    """From a peer that does not say whether it has heard how many it may have."""
    peer = Peer(loop, engine, H2DownstreamOptions())
    for first in range(1, 60_001, 100):
        if peer.goaways() or peer.closed:
            break
        peer.send(*(peer.head(stream, POST, ended=False) for stream in range(first, first + 100, 2)))
    assert peer.goaways() or peer.closed
    assert len(peer.handlers) < 3000


def test_streams_that_we_are_made_to_reset_count_too(loop: ManualLoop, engine: Engine) -> None:
    """CVE-2025-8671."""
    peer = Peer(loop, engine, H2DownstreamOptions(stream_errors=True))
    opened = 0
    while not peer.goaways() and opened < 1000:
        peer.send(peer.head(2 * opened + 1, [*GET, (b"X", b"1")]))
        opened += 1
    assert opened == 250


def test_who_resets_some_of_many_may_stay(peer: Peer) -> None:
    for number in range(1000):
        stream = 2 * number + 1
        peer.send(peer.head(stream, GET))
        if number % 3:
            peer.do(lambda: ok(peer.handlers[-1]))
        else:
            peer.send(reset(stream))
    assert peer.goaways() == []


def test_streams_on_which_nothing_happens(loop: ManualLoop, engine: Engine) -> None:
    peer = Peer(loop, engine, H2DownstreamOptions(stream_idle=Deadlines(loop, 10.0)))
    peer.wait(4)
    peer.send(peer.head(1, GET))
    peer.wait(3)
    peer.send(peer.head(3, POST, ended=False))
    peer.wait(6)
    assert peer.handlers[0].events == []
    peer.wait(1.1)
    assert (peer.handlers[0].events, status(peer, 1)) == (["reset", "sent"], b"504")
    peer.wait(3)
    assert (peer.handlers[1].events, status(peer, 3)) == (["reset", "sent"], b"408")
    assert not peer.closed


def test_a_response_that_the_peer_never_takes(loop: ManualLoop, engine: Engine) -> None:
    peer = Peer(loop, engine, H2DownstreamOptions(stream_idle=Deadlines(loop, 10.0)))
    peer.send(settings({4: 0}), peer.head(1, GET))
    peer.do(lambda: peer.handlers[0].reply(200, b"x" * 50_000))
    assert 1 in peer.connection.streams
    peer.wait(21)
    assert peer.resets() == [(1, CANCEL)]
    assert peer.connection.streams == {}


def test_connections_on_which_nothing_happens(loop: ManualLoop, engine: Engine) -> None:
    peer = Peer(loop, engine, H2DownstreamOptions(idle=Deadlines(loop, 10.0)))
    peer.wait(5)
    peer.send(peer.head(1, GET))
    peer.wait(20)
    assert not peer.closed
    peer.do(lambda: ok(peer.handlers[0]))
    peer.wait(9)
    assert not peer.closed
    peer.wait(11)
    assert peer.goaways() == [(1, NO_ERROR)]
    assert peer.closed


def test_a_head_that_does_not_end_in_time(loop: ManualLoop, engine: Engine) -> None:
    peer = Peer(loop, engine, H2DownstreamOptions(request_headers=Deadlines(loop, 2.0)))
    peer.send(headers(1, peer.encoder.encode(GET), flags=("NONE",)))
    peer.wait(1.9)
    assert not peer.closed
    peer.wait(0.2)
    assert peer.closed


def test_the_number_of_requests_may_be_limited(loop: ManualLoop, engine: Engine) -> None:
    peer = Peer(loop, engine, H2DownstreamOptions(max_requests=2))
    peer.send(peer.head(1, GET))
    assert peer.goaways() == []
    peer.send(peer.head(3, GET))
    assert peer.goaways()
    for handler in peer.handlers:
        ok(handler)
    assert peer.closed


def test_a_peer_is_asked_whether_it_is_there(loop: ManualLoop, engine: Engine) -> None:
    options = H2Keepalive(interval=10.0, timeout=2.0, jitter=0.0)
    peer = Peer(loop, engine, H2DownstreamOptions(keepalive=partial(Keepalive, loop, options)))
    peer.wait(10)
    assert peer.names() == ["Ping"]
    peer.send(ping(b"pyproxy?", ack=True))
    peer.wait(9.9)
    assert peer.names() == []
    peer.wait(0.2)
    assert peer.names() == ["Ping"]
    peer.wait(2.1)
    assert peer.transport.aborted
