"""What the tap filter records, with bodies that come in pieces."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.matchers import HeaderMatch, StringKind, StringMatch
from pyproxy.config.tap import AnyRule, BodyRule, FileSink, HeadersRule, NotRule, TapConfig, TapPart, TapRule
from pyproxy.filters.http.tap.config import TapFilterConfig
from pyproxy.filters.http.tap.matcher import TapMatcher
from pyproxy.filters.http.tap.session import TapSession
from pyproxy.http.body import Body, Trailers
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo

FAILED = HeadersRule(TapPart.RESPONSE_HEADERS, (HeaderMatch(b":status", string=StringMatch(StringKind.PREFIX, "5")),))


class Sink:
    """Takes what comes out of a body."""

    def __init__(self) -> None:
        self.data = b""
        self.trailers: Trailers | None = None

    def on_data(self, chunk: bytes) -> None:
        self.data += chunk

    def on_end(self, trailers: Trailers | None) -> None:
        self.trailers = trailers

    def on_abort(self, error: Exception) -> None:
        raise error


def play(rule: TapRule, *, streaming: bool = False, status: int = 200, rx: int = 1024) -> list[dict[str, Any]]:
    """One POST of `hello there` in two pieces; what was recorded of it."""
    traces: list[dict[str, Any]] = []
    config = TapFilterConfig(None, "me", downstream=True)
    tap = TapConfig(rule, FileSink("x"), rx=rx, tx=5, streaming=streaming)

    def submit(tap: TapConfig, trace: dict[str, Any], *, first: bool) -> None:
        assert first is (not traces)
        traces.append(trace)

    info = StreamInfo(0.0, 0.0, ConnectionInfo())
    body = Body()
    request = Request(b"POST", b"/p", b"h", Headers([(b"a", b"1")]), info, body)
    session = TapSession(config, tap, TapMatcher(rule), submit, request)
    sent, answered = Sink(), Sink()
    session.watch_request(body).pipe_to(sent)
    body.feed(b"hello ")
    body.feed(b"there")
    body.end([(b"t", b"2")])
    request.headers.set(b"x-late", b"1")
    response = Response(status, Headers([(b"b", b"3")]), Body.complete(b"0123456789"))
    session.on_response(response)
    assert response.body is not None
    session.watch_response(response.body).pipe_to(answered)
    session.finish(request, response)
    assert (sent.data, sent.trailers, answered.data) == (b"hello there", [(b"t", b"2")], b"0123456789")
    return traces


def test_a_whole_exchange() -> None:
    (trace,) = play(AnyRule(), rx=7)
    asked, answered = trace["request"], trace["response"]
    assert asked["headers"] == [
        (":authority", "h"), (":path", "/p"), (":method", "POST"), (":scheme", "http"), ("a", "1"), ("x-late", "1"),
    ]  # fmt: skip
    assert (asked["body"], asked["truncated"], asked["trailers"]) == ("hello t", True, [("t", "2")])
    assert answered["headers"] == [(":status", "200"), ("b", "3")]
    assert (answered["body"], answered["truncated"]) == ("01234", True)


def test_only_what_is_wanted() -> None:
    assert not play(FAILED)
    assert len(play(FAILED, status=503)) == 1
    assert not play(NotRule(AnyRule()))


def test_segments_as_they_come() -> None:
    segments = play(AnyRule(), streaming=True)
    assert [one["segment"] for one in segments] == [
        "request_headers", "request_body_chunk", "request_body_chunk", "request_trailers",
        "response_headers", "response_body_chunk",
    ]  # fmt: skip
    assert [one["value"] for one in segments if one["segment"] == "request_body_chunk"] == ["hello ", "there"]
    assert segments[-1]["truncated"]
    assert len({one["id"] for one in segments}) == 1


def test_segments_wait_until_it_is_wanted() -> None:
    segments = play(FAILED, streaming=True, status=500)
    assert [one["segment"] for one in segments] == [
        "request_headers", "request_body_chunk", "request_trailers", "response_headers", "response_body_chunk",
    ]  # fmt: skip
    assert segments[1]["value"] == "hello there"
    assert not play(FAILED, streaming=True)


@pytest.mark.parametrize("streaming", [False, True])
def test_by_body(streaming: bool) -> None:
    assert play(BodyRule(TapPart.REQUEST_BODY, (b"o t",)), streaming=streaming)
    assert not play(BodyRule(TapPart.REQUEST_BODY, (b"nothing",)), streaming=streaming)
    assert play(BodyRule(TapPart.RESPONSE_BODY, (b"89",)), streaming=streaming)
