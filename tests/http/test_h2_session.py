"""HTTP/2 as both engines speak it: frames in, events out; messages in, frames out."""

from __future__ import annotations

import random

import pytest
from hyperframe import frame as frames

from pyproxy.http.h2_session import (
    CANCEL,
    DATA,
    GOAWAY,
    HEADERS,
    HIGH_WATERMARK,
    INTERNAL_ERROR,
    PONG,
    REFUSED_STREAM,
    TRAILERS,
    WHOLE,
    Event,
    SessionOptions,
)
from tests.http.h2_peer import (
    ENGINE_IDS,
    ENGINES,
    GET,
    OK,
    POST,
    Engine,
    Peer,
    continuation,
    data,
    goaway,
    headers,
    ping,
    reset,
    settings,
    window_update,
)

engines = pytest.mark.parametrize("engine", ENGINES, ids=ENGINE_IDS)


def whole(events: list[Event]) -> list[Event]:
    """Neighbouring pieces of one body as one."""
    joined: list[Event] = []
    for event in events:
        if event[0] == DATA and joined and joined[-1][:2] == event[:2] and not joined[-1][3]:
            event = (DATA, event[1], joined.pop()[2] + event[2], event[3])
        joined.append(event)
    return joined


@engines
def test_the_connection_begins_with_our_settings(engine: Engine) -> None:
    peer = Peer(engine, max_concurrent_streams=7, stream_window=70_000, connection_window=100_000)
    assert peer.send(settings(ack=True)) == []
    fresh = engine.new(True, SessionOptions(max_concurrent_streams=7, stream_window=70_000, connection_window=100_000))
    made, length = frames.Frame.parse_frame_header(memoryview((out := fresh.pull())[:9]))
    assert isinstance(made, frames.SettingsFrame)
    made.parse_body(memoryview(out[9 : 9 + length]))
    assert made.settings[3] == 7
    assert made.settings[4] == 70_000
    assert window_update(0, 100_000 - 65_535) in out


@engines
def test_a_request_and_its_response(engine: Engine) -> None:
    peer = Peer(engine)
    events = peer.send(peer.head(1, [*GET, (b"x", b"1")]))
    assert events == [(HEADERS, 1, [*GET, (b"x", b"1")], True)]
    peer.session.respond(1, [*OK, (b"y", b"2")], b"hello", True)
    peer.read()
    assert peer.headers[1] == [[*OK, (b"y", b"2")]]
    assert peer.data[1] == b"hello"
    assert peer.ended == {1}
    assert peer.session.sent == [1]
    assert peer.closed() == [(1, 0)]


@engines
def test_a_response_without_a_body_is_one_frame(engine: Engine) -> None:
    peer = Peer(engine)
    peer.send(peer.head(1, GET))
    peer.names()
    peer.session.respond(1, OK, b"", True)
    peer.read()
    assert peer.names() == ["Headers"]
    assert peer.ended == {1}


@engines
def test_a_body_comes_in_pieces_and_its_end_with_the_last(engine: Engine) -> None:
    peer = Peer(engine)
    events = peer.send(peer.head(1, POST, ended=False), data(1, b"ab"), data(1, b"cd", ended=True))
    assert events == [(HEADERS, 1, POST, False), (DATA, 1, b"ab", False), (DATA, 1, b"cd", True)]
    assert peer.send(peer.head(3, POST, ended=False)) == [(HEADERS, 3, POST, False)]
    assert peer.send(data(3, b"ab")) == [(DATA, 3, b"ab", False)]
    assert peer.send(data(3, b"", ended=True)) == [(DATA, 3, b"", True)]


@engines
def test_a_short_message_that_is_here_as_a_whole(engine: Engine) -> None:
    peer = Peer(engine)
    trailers = [(b"t", b"1")]
    events = peer.send(
        peer.head(1, POST, ended=False), peer.head(3, POST, ended=False), peer.head(5, POST, ended=False),
        peer.head(7, POST, ended=False), peer.head(9, POST, ended=False),
        data(1, b"ab"), data(3, b"cd"), data(9, b"x"), data(5, b"", ended=True), data(3, b"", ended=True),
        peer.head(1, trailers), data(7, b"e"), data(7, b"f"), peer.head(7, trailers),
    )  # fmt: skip
    assert events == [
        (WHOLE, 1, (POST, b"ab", trailers), True),
        (WHOLE, 3, (POST, b"cd", None), True),
        (WHOLE, 5, (POST, b"", None), True),
        (HEADERS, 7, POST, False),
        (HEADERS, 9, POST, False),
        (DATA, 9, b"x", False),
        (DATA, 7, b"e", False),
        (DATA, 7, b"f", False),
        (TRAILERS, 7, trailers, True),
    ]


@engines
@pytest.mark.parametrize("seed", range(8))
def test_however_the_bytes_are_cut(engine: Engine, seed: int) -> None:
    rng = random.Random(seed)
    peer, other = Peer(engine, stream_window=1 << 20), Peer(engine, stream_window=1 << 20)
    body = rng.randbytes(20_000)
    wire = peer.head(1, POST, ended=False) + data(1, body[:9000], pad=9) + data(1, body[9000:19_000])
    wire += peer.head(3, GET) + data(1, body[19_000:]) + peer.head(1, [(b"t", b"1")])
    expected = whole(peer.send(wire))
    cut = whole(other.send_cut(wire, rng))
    streams = {event[1] for event in expected}
    for stream in streams:
        assert whole(only(cut, stream)) == whole(only(expected, stream))
    assert whole(only(cut, 1))[1][2] == body


def only(events: list[Event], stream: int) -> list[Event]:
    return [event for event in events if event[1] == stream]


@engines
def test_trailers_both_ways(engine: Engine) -> None:
    peer = Peer(engine)
    peer.send(peer.head(1, POST, ended=False))
    events = peer.send(data(1, b"x"), peer.head(1, [(b"t", b"1")]))
    assert events[-1] == (TRAILERS, 1, [(b"t", b"1")], True)
    peer.names()
    peer.session.respond(1, OK, b"", False)
    peer.session.send_data(1, b"body", False)
    peer.session.send_trailers(1, [(b"grpc-status", b"0")])
    peer.read()
    assert peer.names() == ["Headers", "Data", "Headers"]
    assert peer.headers[1] == [OK, [(b"grpc-status", b"0")]]
    assert peer.data[1] == b"body"
    assert peer.ended == {1}


@engines
def test_trailers_after_what_was_sent_already(engine: Engine) -> None:
    peer = Peer(engine)
    peer.send(peer.head(1, GET))
    peer.session.respond(1, OK, b"", False)
    peer.session.send_data(1, b"body", False)
    peer.read()
    peer.session.send_trailers(1, [(b"grpc-status", b"0")])
    peer.read()
    assert peer.headers[1] == [OK, [(b"grpc-status", b"0")]]
    assert peer.ended == {1}


@engines
def test_interim_responses_go_first(engine: Engine) -> None:
    peer = Peer(engine)
    peer.send(peer.head(1, POST, ended=False))
    peer.session.inform(1, [(b":status", b"100")])
    peer.session.respond(1, OK, b"", True)
    peer.read()
    assert peer.headers[1] == [[(b":status", b"100")], OK]


@engines
def test_as_a_downstream(engine: Engine) -> None:
    """What an upstream says of a request of ours."""
    peer = Peer(engine, server=False)
    stream = peer.session.request([*POST, (b"x", b"1")], b"abc", True)
    assert stream == 1
    peer.read()
    assert peer.headers[1] == [[*POST, (b"x", b"1")]]
    assert peer.data[1] == b"abc"
    wire = peer.head(1, [(b":status", b"103")], ended=False) + peer.head(1, OK, ended=False) + data(1, b"hi")
    events = peer.send(wire, peer.head(1, [(b"grpc-status", b"0")]))
    assert events == [
        (HEADERS, 1, [(b":status", b"103")], False),
        (WHOLE, 1, (OK, b"hi", [(b"grpc-status", b"0")]), True),
    ]
    assert peer.closed() == [(1, 0)]
    assert peer.session.request(GET, b"", True) == 3


@engines
def test_what_waits_for_the_window_of_the_peer(engine: Engine) -> None:
    peer = Peer(engine)
    peer.send(peer.head(1, GET))
    body = random.Random(1).randbytes(300_000)
    peer.session.respond(1, OK, b"", False)
    assert peer.session.send_data(1, body[:10], False)
    assert not peer.session.send_data(1, body[10:], False)
    peer.read()
    assert len(peer.data[1]) == 65_535
    assert peer.session.waiting(1) == 300_000 - 65_535
    assert peer.session.drained == []
    peer.send(window_update(1, 300_000), window_update(0, 150_000))
    assert len(peer.data[1]) == 65_535 + 150_000
    assert peer.session.drained == []
    peer.send(window_update(0, 150_000))
    assert peer.session.drained == [1]
    peer.session.send_data(1, b"", True)
    peer.read()
    assert peer.data[1] == body
    assert peer.ended == {1}


@engines
def test_nobody_waits_for_a_stream_whose_window_is_closed(engine: Engine) -> None:
    peer = Peer(engine)
    peer.send(peer.head(1, GET), peer.head(3, GET), window_update(0, 1 << 20))
    peer.session.respond(1, OK, b"x" * 100_000, True)
    peer.session.respond(3, OK, b"y" * 50_000, True)
    peer.read()
    assert (len(peer.data[1]), len(peer.data[3])) == (65_535, 50_000)
    assert peer.ended == {3}


@engines
def test_the_peer_may_send_what_has_gone_on(engine: Engine) -> None:
    peer = Peer(engine, stream_window=65_535, connection_window=65_535)
    peer.send(peer.head(1, POST, ended=False), *[data(1, b"z" * 16_000)] * 4)
    assert {made.stream_id for made in peer.frames if isinstance(made, frames.WindowUpdateFrame)} == {0}
    peer.frames.clear()
    peer.session.consume(1, 64_000)
    peer.read()
    assert [(made.stream_id, made.window_increment) for made in peer.frames] == [(1, 64_000)]


@engines
def test_a_stream_that_nobody_reads_stops_no_other(engine: Engine) -> None:
    peer = Peer(engine, stream_window=65_535, connection_window=65_535)
    for stream in range(1, 41, 2):
        events = peer.send(peer.head(stream, POST, ended=False), *[data(stream, b"z" * 16_000)] * 4)
        assert sum(len(what) for kind, _, what, _ in events if kind == DATA) == 64_000
    assert peer.goaways() == []


@engines
def test_padding_counts_for_the_window(engine: Engine) -> None:
    peer = Peer(engine, stream_window=65_535, connection_window=65_535)
    peer.send(peer.head(1, POST, ended=False))
    for _ in range(1000):
        assert peer.send(data(1, b"", pad=200)) == []
    assert peer.goaways() == []


@engines
def test_resets_both_ways(engine: Engine) -> None:
    peer = Peer(engine)
    peer.send(peer.head(1, POST, ended=False), peer.head(3, POST, ended=False))
    assert peer.send(reset(1, 5)) == []
    assert peer.closed() == [(1, 5)]
    peer.session.reset(3, INTERNAL_ERROR)
    peer.read()
    assert peer.resets() == [(3, INTERNAL_ERROR)]
    assert peer.closed() == [(3, INTERNAL_ERROR)]
    peer.session.reset(3, INTERNAL_ERROR)
    peer.session.respond(1, OK, b"late", True)
    peer.session.send_data(1, b"late", True)
    peer.read()
    assert 1 not in peer.headers


@engines
def test_a_request_that_is_given_up_before_it_went_out(engine: Engine) -> None:
    peer = Peer(engine, server=False)
    given_up, other = peer.session.request(POST, b"abc", False), peer.session.request(GET, b"", True)
    peer.session.reset(given_up, CANCEL)
    peer.read()
    assert peer.resets() == [(given_up, CANCEL)]
    assert peer.names().index("Headers") < 2
    assert set(peer.headers) == {given_up, other}
    assert given_up not in peer.data
    assert peer.closed() == [(given_up, CANCEL)]


@engines
def test_pings_are_answered_and_asked(engine: Engine) -> None:
    peer = Peer(engine)
    assert peer.send(ping(b"abcdefgh")) == []
    assert [made.opaque_data for made in peer.frames if isinstance(made, frames.PingFrame)] == [b"abcdefgh"]
    peer.frames.clear()
    peer.session.ping(b"12345678")
    peer.read()
    assert peer.names() == ["Ping"]
    assert peer.send(ping(b"12345678", ack=True)) == [(PONG, 0, b"12345678", False)]


@engines
def test_a_graceful_end(engine: Engine) -> None:
    peer = Peer(engine)
    peer.send(peer.head(1, GET))
    peer.session.notice()
    peer.read()
    assert peer.goaways() == [((1 << 31) - 1, 0)]
    assert peer.send(peer.head(3, GET)) == [(HEADERS, 3, GET, True)]
    peer.session.goaway(0)
    peer.read()
    assert peer.goaways()[1:] == [(3, 0)]
    assert peer.send(peer.head(5, GET)) == []
    assert not peer.session.finished
    peer.session.respond(1, OK, b"", True)
    peer.session.respond(3, OK, b"x", True)
    peer.read()
    assert peer.ended == {1, 3}
    assert peer.session.finished
    assert peer.session.error == -1


@engines
def test_an_upstream_that_goes(engine: Engine) -> None:
    """Streams that it has begun with go on; the others can be asked for again."""
    peer = Peer(engine, server=False)
    first, second = (peer.session.request(GET, b"", True) for _ in range(2))
    peer.read()
    assert peer.send(goaway(first)) == [(GOAWAY, first, 0, False)]
    assert peer.closed() == [(second, REFUSED_STREAM)]
    assert peer.send(peer.head(first, OK)) == [(HEADERS, first, OK, True)]
    assert peer.closed() == [(first, 0)]


@engines
def test_how_many_streams_an_upstream_takes(engine: Engine) -> None:
    peer = Peer(engine, server=False)
    fresh = engine.new(False, SessionOptions())
    assert fresh.room() == 100
    peer.send(settings({3: 5}))
    assert peer.session.room() == 5
    assert not peer.session.takes_connect()
    peer.send(settings({8: 1}))
    assert peer.session.takes_connect()


@engines
def test_a_header_block_in_many_frames(engine: Engine) -> None:
    peer = Peer(engine)
    pairs = [*GET, (b"x", b"v" * 30_000)]
    block = peer.encoder.encode(pairs, huffman=False)
    events = peer.send(
        headers(1, block[:16_000], flags=("NONE",)), continuation(1, block[16_000:20_000], last=False),
        continuation(1, block[20_000:]),
    )  # fmt: skip
    assert events == [(HEADERS, 1, pairs, True)]


@engines
def test_much_is_not_pulled_at_once(engine: Engine) -> None:
    peer = Peer(engine)
    peer.send(peer.head(1, GET), settings({4: 1 << 24}), window_update(0, 1 << 24))
    peer.session.respond(1, OK, b"x" * (1 << 20), True)
    pulled = []
    while out := peer.session.pull():
        pulled.append(len(out))
    assert sum(pulled) > 1 << 20
    assert max(pulled) <= 3 * HIGH_WATERMARK


@engines
def test_a_frame_counter_for_the_guard(engine: Engine) -> None:
    peer = Peer(engine)
    peer.send(peer.head(1, GET))
    peer.session.respond(1, OK, b"x" * 40_000, True)
    peer.read()
    assert peer.session.data_frames == 3
