"""What both HTTP/2 engines do with what is malformed, too large or no HTTP/2 at all."""

from __future__ import annotations

import pytest

from pyproxy.http.h2_session import (
    HEADERS,
    INTERNAL_ERROR,
    MALFORMED,
    PROTOCOL_ERROR,
    SessionOptions,
)
from pyproxy.http.message import Pair
from tests.http.h2_peer import (
    ENGINE_IDS,
    ENGINES,
    GET,
    OK,
    PURE,
    Engine,
    Peer,
    continuation,
    data,
    headers,
)

engines = pytest.mark.parametrize("engine", ENGINES, ids=ENGINE_IDS)


MALFORMED_REQUESTS: dict[str, list[Pair]] = {
    "upper case": [*GET, (b"X-A", b"1")],
    "connection": [*GET, (b"connection", b"close")],
    "keep-alive": [*GET, (b"keep-alive", b"1")],
    "proxy-connection": [*GET, (b"proxy-connection", b"close")],
    "transfer-encoding": [*GET, (b"transfer-encoding", b"chunked")],
    "upgrade": [*GET, (b"upgrade", b"h2c")],
    "te": [*GET, (b"te", b"gzip")],
    "line feed": [*GET, (b"x", b"a\nb")],
    "carriage return": [*GET, (b"x", b"a\rb")],
    "NUL": [*GET, (b"x", b"a\0b")],
    "colon in a name": [*GET, (b"x:y", b"1")],
    "space in a name": [*GET, (b"x y", b"1")],
    "CRLF in a name": [*GET, (b"x\r\ny", b"1")],
    "no name": [*GET, (b"", b"1")],
    "no method": GET[1:],
    "no scheme": [GET[0], *GET[2:]],
    "no path": GET[:3],
    "empty path": [*GET[:3], (b":path", b"")],
    "path without a slash": [*GET[:3], (b":path", b"a")],
    "path with a space": [*GET[:3], (b":path", b"/a b")],
    "path with a line end": [*GET[:3], (b":path", b"/a\r\nb")],
    "method with a space": [(b":method", b"GET /"), *GET[1:]],
    "two paths": [*GET, (b":path", b"/b")],
    "status": [*GET, (b":status", b"200")],
    "unknown pseudo": [*GET, (b":foo", b"1")],
    "late pseudo": [*GET[:3], (b"x", b"1"), GET[3]],
    "scheme with a slash": [GET[0], (b":scheme", b"http/"), *GET[2:]],
    "authority with a space": [*GET[:2], (b":authority", b"a b"), GET[3]],
    "two lengths": [*GET, (b"content-length", b"0"), (b"content-length", b"0")],
    "length that is none": [*GET, (b"content-length", b"+1")],
    "protocol": [*GET, (b":protocol", b"websocket")],
    "connect with a path": [(b":method", b"CONNECT"), (b":authority", b"a:1"), (b":path", b"/")],
}


@engines
@pytest.mark.parametrize("name", MALFORMED_REQUESTS)
def test_malformed_requests_end_their_stream_only(engine: Engine, name: str) -> None:
    peer = Peer(engine)
    events = peer.send(peer.head(1, MALFORMED_REQUESTS[name]))
    if engine is PURE and name == "length that is none":  # h2 ends the connection for it
        assert peer.goaways()
        return
    assert [event[:2] for event in events] == [(MALFORMED, 1)]
    assert events[0][2].code == PROTOCOL_ERROR
    assert not events[0][2].too_large
    assert peer.resets() == [(1, PROTOCOL_ERROR)]
    assert peer.send(peer.head(3, GET)) == [(HEADERS, 3, GET, True)]


@engines
@pytest.mark.parametrize(
    "pairs",
    [[(b":status", b"20")], [(b":status", b"abc")], [*OK, *OK], [(b"x", b"1")], [*OK, (b"upgrade", b"a")],
     [*OK, (b"x", b"a\nb")], [(b":status", b"101")]],
)  # fmt: skip
def test_malformed_responses(engine: Engine, pairs: list[Pair]) -> None:
    peer = Peer(engine, server=False)
    stream = peer.session.request(GET, b"", True)
    peer.read()
    events = peer.send(peer.head(stream, pairs, ended=False))
    assert [event[:2] for event in events] == [(MALFORMED, stream)]
    assert peer.resets() == [(stream, PROTOCOL_ERROR)]


@engines
def test_header_blocks_that_are_too_large(engine: Engine) -> None:
    peer = Peer(engine, headers_kb=4, header_count=10)
    fits = [*GET, *[(b"x", b"1")] * 10]
    assert peer.send(peer.head(1, fits)) == [(HEADERS, 1, fits, True)]
    for stream, pairs in ((3, [*GET, *[(b"x", b"1")] * 11]), (5, [*GET, (b"x", b"1" * 4096)])):
        events = peer.send(peer.head(stream, pairs))
        assert [event[:2] for event in events] == [(MALFORMED, stream)]
        assert events[0][2].too_large
        assert peer.resets()[-1] == (stream, INTERNAL_ERROR)
    assert peer.send(peer.head(7, GET)) == [(HEADERS, 7, GET, True)]


@engines
def test_cookies_in_crumbs_count_each(engine: Engine) -> None:
    """One byte each on the wire, and all of them empty (CVE-2026-47774)."""
    peer = Peer(engine)
    block = peer.encoder.encode([*GET, (b"cookie", b"")])
    crumb = peer.encoder.encode([(b"cookie", b"")])
    assert len(crumb) == 1
    events = peer.send(headers(1, block + crumb * 16_000))
    if engine is PURE:
        assert peer.goaways()
    else:
        assert [event[:2] for event in events] == [(MALFORMED, 1)]


@engines
def test_broken_frames_end_the_connection(engine: Engine) -> None:
    cases = {
        "ping of another size": b"\0\0\7\6\0\0\0\0\0" + b"1234567",
        "settings of another size": b"\0\0\5\4\0\0\0\0\0" + b"12345",
        "data on stream 0": data(1, b"a").replace(b"\0\0\0\1", b"\0\0\0\0", 1),
        "an even stream": headers(2, b"\x82\x86\x84\x41\x01a"),
        "continuation alone": continuation(1, b"\x82"),
        "bad index": headers(1, b"\xff\xff\xff\xff\x0f"),
        "table too large": headers(1, b"\x3f\xe2\x5f\x82"),
    }
    for name, wire in cases.items():
        peer = Peer(engine)
        assert [event for event in peer.send(wire) if event[0] != MALFORMED] == [], name
        assert peer.goaways(), name
        assert peer.goaways()[-1][1] != 0, name
        assert peer.session.finished, name
        assert peer.session.error > 0, name


@engines
def test_what_came_before_a_broken_frame_is_not_lost(engine: Engine) -> None:
    peer = Peer(engine)
    events = peer.send(peer.head(1, GET), b"\0\0\7\6\0\0\0\0\0" + b"1234567")
    assert events == [(HEADERS, 1, GET, True)]


@engines
def test_who_does_not_speak_http2(engine: Engine) -> None:
    session = engine.new(True, SessionOptions())
    assert session.receive(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\nabcdefghi") == []
    session.pull()
    assert session.finished
