"""HTTP/1 as it is read by both engines: bytes in, messages out, however the bytes are cut."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.http.codec import CodecError, CodecLimits, CodecOptions, RequestHead, ResponseHead
from tests.http.h1_bad_requests import REFUSED
from tests.http.h1_good_requests import ACCEPTED, CHUNKED, HELLO, POST, STRICT, fields, get, request
from tests.http.h1_playbook import (
    ENGINE_IDS,
    ENGINES,
    PURE,
    Engine,
    Message,
    Reading,
    cuts,
    read_requests,
    read_responses,
)
from tests.http.h1_responses import ANSWERED, MISBEHAVED, OK

engines = pytest.mark.parametrize("engine", ENGINES, ids=ENGINE_IDS)


def without_size(reading: Reading) -> list[Message]:
    for message in reading.messages:
        message.head.pop("size", None)
    return reading.messages


@engines
@pytest.mark.parametrize("case", ACCEPTED)
def test_request(engine: Engine, case: str) -> None:
    data, options, expected = ACCEPTED[case]
    for pieces in cuts(data):
        reading = read_requests(engine, pieces, options)
        assert reading.error is None
        assert without_size(reading) == expected


@engines
@pytest.mark.parametrize("case", REFUSED)
def test_bad_request(engine: Engine, case: str) -> None:
    """Refused however it is cut, and nothing of the bad message counts as complete."""
    data, statuses, before = REFUSED[case]
    for pieces in cuts(data) if len(data) < 3000 else ([data], [data[i : i + 7] for i in range(0, len(data), 7)]):
        reading = read_requests(engine, pieces, STRICT)
        assert reading.error is not None
        assert reading.error[0] in statuses
        assert len(reading.complete) == before


# Envoy's words for them, in %RESPONSE_CODE_DETAILS%.
DETAILS = {
    "CL and TE": "http1.content_length_and_chunked_not_allowed",
    "TE b'gzip, chunked'": "http1.invalid_transfer_encoding",
    "TE b'identity'": "http1.invalid_transfer_encoding",
    "line b'GET / HTTP/1.0'": "low_version",
    "line b'GET / HTTP/9.9'": "low_version",
    "line b'G@T / HTTP/1.1'": "http1.codec_error",
    "CL b'5a'": "http1.codec_error",
    "chunk size b'zz'": "http1.codec_error",
    "101 fields": "http1.too_many_headers",
    "61 KiB of one field": "http1.headers_too_large",
    "61 KiB of path": "http1.headers_too_large",
}


@engines
@pytest.mark.parametrize("case", DETAILS)
def test_details(engine: Engine, case: str) -> None:
    reading = read_requests(engine, [REFUSED[case][0]], STRICT)
    assert reading.error is not None
    assert reading.error[1] == DETAILS[case]


@engines
def test_te_in_http10(engine: Engine) -> None:
    data = b"POST / HTTP/1.0\r\n" + fields(b"Transfer-Encoding: chunked") + HELLO
    assert (read_requests(engine, [data], CodecOptions(allow_http10=True)).error or (0,))[0] == 400


@engines
@pytest.mark.parametrize("version", [b"0.9", b"1.2", b"2.0", b"9.9"])
def test_http10_lets_no_other_version_in(engine: Engine, version: bytes) -> None:
    data = b"GET / HTTP/" + version + b"\r\nHost: a\r\n\r\n"
    for pieces in cuts(data):
        assert (read_requests(engine, pieces, CodecOptions(allow_http10=True)).error or (0,))[0] == 426


@engines
def test_absolute_form_may_be_forbidden(engine: Engine) -> None:
    """Then it is left as it is: a target that is no path."""
    data = b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"
    reading = read_requests(engine, [data], CodecOptions(allow_absolute_url=False))
    assert without_size(reading) == [request(target=b"http://b/")]


def test_a_length_beside_chunks_may_be_allowed() -> None:
    data = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO
    for pieces in cuts(data):
        reading = read_requests(PURE, pieces, CodecOptions(allow_chunked_length=True))
        expected = request(b"hello", [(b"transfer-encoding", b"chunked")], method=b"POST", target=b"/p", chunked=True)
        assert without_size(reading) == [expected]


@engines
def test_lenient_is_not_lenient_about_framing(engine: Engine) -> None:
    lenient = CodecOptions(lenient=True)
    for case in ("CL and TE", "two CL", "TE twice", "space before colon of TE", "chunk size b'0x5'", "NUL in value"):
        assert read_requests(engine, [REFUSED[case][0]], lenient).error is not None


@engines
def test_limits_are_options(engine: Engine) -> None:
    options = CodecOptions(limits=CodecLimits(headers_kb=1, header_count=3, chunk_extension_bytes=10))
    assert read_requests(engine, [get(b"X: 1", b"Y: 2")], options).error is None
    assert (read_requests(engine, [get(b"X: 1", b"Y: 2", b"Z: 3")], options).error or (0,))[0] == 431
    assert (read_requests(engine, [get(b"X: " + b"y" * 1024)], options).error or (0,))[0] == 431
    for pieces in cuts(CHUNKED + b"1;abcdefghijk\r\nx\r\n0\r\n\r\n"):
        assert (read_requests(engine, pieces, options).error or (0,))[0] == 400


@engines
def test_a_connect_opens_a_tunnel(engine: Engine) -> None:
    """What follows is the tunnel's, whatever it looks like."""
    data = b"CONNECT b:80 HTTP/1.1\r\nHost: a\r\n\r\n"
    for pieces in cuts(data + get() + b"\0"):
        reading = read_requests(engine, pieces, STRICT)
        assert reading.error is None
        assert without_size(reading) == [request(method=b"CONNECT", target=b"b:80", host=b"b:80", upgrade=True)]
        assert reading.tunnel == get() + b"\0"


@engines
def test_the_size_of_a_head_is_that_of_its_bytes(engine: Engine) -> None:
    first, second = CHUNKED + HELLO, get(b"X: y")
    for pieces in cuts(first + second):
        reading = read_requests(engine, pieces, STRICT)
        assert [message.head["size"] for message in reading.messages] == [len(CHUNKED), len(second)]
        assert [message.framing for message in reading.messages] == [len(HELLO) - len(b"hello"), 0]


@engines
def test_a_small_message_is_one_event(engine: Engine) -> None:
    """The promise that makes the common case cheap (see `http.codec`)."""
    requests: list[Any] = engine.new_request_decoder(STRICT).receive(
        POST + fields(b"Content-Length: 5") + b"hello" + CHUNKED + HELLO + get()
    )
    assert [(type(event), event.ended, event.body) for event in requests] == [
        (RequestHead, True, b"hello"),
        (RequestHead, True, b"hello"),
        (RequestHead, True, b""),
    ]
    decoder = engine.new_response_decoder(STRICT)
    decoder.expect(b"GET")
    responses: list[Any] = decoder.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    assert [(type(event), event.ended, event.body) for event in responses] == [(ResponseHead, True, b"hello")]


@engines
def test_a_body_is_handed_on_as_it_comes(engine: Engine) -> None:
    decoder = engine.new_request_decoder(STRICT)
    (head,) = decoder.receive(POST + fields(b"Content-Length: 1000000"))
    assert isinstance(head, RequestHead)
    assert not head.ended
    given: list[Any] = []
    for _ in range(100):
        given += decoder.receive(b"x" * 10_000)
    assert [type(event).__name__ for event in given] == ["bytes"] * 100 + ["End"]


@engines
def test_nothing_comes_after_an_error(engine: Engine) -> None:
    decoder = engine.new_request_decoder(STRICT)
    (event,) = decoder.receive(b"nonsense\r\n\r\n")
    assert isinstance(event, CodecError)
    assert not any(isinstance(event, RequestHead) for event in decoder.receive(get()))


@engines
def test_many_small_chunks_and_requests(engine: Engine) -> None:
    count = 20_000
    reading = read_requests(engine, [CHUNKED + b"1\r\nx\r\n" * count + b"0\r\n\r\n"], STRICT)
    assert reading.complete[0].body == b"x" * count
    reading = read_requests(engine, [get() * 5000], STRICT)
    assert len(reading.complete) == 5000


KEEP_TRAILERS = CodecOptions(keep_trailers=True)


@engines
@pytest.mark.parametrize("case", ANSWERED)
def test_response(engine: Engine, case: str) -> None:
    data, methods, eof, expected = ANSWERED[case]
    for pieces in cuts(data):
        reading = read_responses(engine, pieces, KEEP_TRAILERS, methods, eof=eof)
        assert reading.error is None
        assert without_size(reading) == expected


@engines
@pytest.mark.parametrize("case", MISBEHAVED)
def test_bad_response(engine: Engine, case: str) -> None:
    data, eof, before = MISBEHAVED[case]
    for pieces in cuts(data) if len(data) < 3000 else ([data], [data[i : i + 7] for i in range(0, len(data), 7)]):
        reading = read_responses(engine, pieces, STRICT, [b"GET"], eof=eof)
        assert reading.error is not None
        assert reading.error[0] == 502
        assert len(reading.complete) == before


@engines
def test_head_response_with_a_body(engine: Engine) -> None:
    data = OK + fields(b"Content-Length: 5") + b"hello"
    for pieces in cuts(data):
        reading = read_responses(engine, pieces, STRICT, [b"HEAD"], eof=False)
        assert (reading.error or (0,))[0] == 502


@engines
def test_a_response_without_a_request(engine: Engine) -> None:
    reading = read_responses(engine, [OK + fields(b"Content-Length: 0")], STRICT, [], eof=False)
    assert (reading.error or (0,))[0] == 502
    assert reading.messages == []


def test_the_fast_engine_is_the_one_that_is_meant() -> None:
    assert ENGINE_IDS == ["httptools", "h11"]
