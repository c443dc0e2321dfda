"""The suite believes what `wire` cuts, so its rules are pinned here."""

from __future__ import annotations

import pytest

from tests.support.wire import cut_request, cut_response

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "body", "framing", "trailers", "rest"),
    [
        (GET + GET, b"", "none", b"", GET),
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi" + GET, b"hi", "length", b"", GET),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi", "chunked", b"", b""),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nt: 1\r\n\r\nX", b"", "chunked", b"t: 1\r\n", b"X"),
    ],
)
def test_a_request_ends_where_its_framing_says(
    data: bytes, body: bytes, framing: str, trailers: bytes, rest: bytes
) -> None:
    cut = cut_request(data)
    assert cut is not None
    message, size = cut
    assert (message.body, message.framing, message.trailers, data[size:]) == (body, framing, trailers, rest)
    assert message.complete


def test_a_head_that_has_not_ended_is_nothing_yet() -> None:
    assert cut_request(GET[:-2]) is None
    assert cut_response(CHUNKED[:-2], "GET") is None


def test_a_body_that_has_not_ended_is_told() -> None:
    cut = cut_response(CHUNKED + b"5\r\nhel", "GET")
    assert cut is not None
    assert (cut[0].body, cut[0].complete) == (b"hel", False)


@pytest.mark.parametrize(
    ("head", "method"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "HEAD"),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", "GET"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "POST"),
    ],
)
def test_some_responses_have_no_body(head: bytes, method: str) -> None:
    cut = cut_response(head + b"next", method)
    assert cut is not None
    assert cut[1] == len(head)


def test_a_response_without_framing_ends_with_its_connection() -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\nbody"
    open_, closed = cut_response(head, "GET"), cut_response(head, "GET", eof=True)
    assert open_ is not None
    assert closed is not None
    assert (open_[0].complete, closed[0].complete) == (False, True)
