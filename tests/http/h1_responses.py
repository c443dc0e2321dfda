"""Responses that both engines have to read, or to refuse."""

from __future__ import annotations

from typing import Any

from tests.http.h1_good_requests import HELLO, TE, fields
from tests.http.h1_playbook import Message, Pairs

OK = b"HTTP/1.1 200 OK\r\n"
CL5 = [(b"content-length", b"5")]


def response(
    body: bytes = b"",
    headers: Pairs | None = None,
    *,
    trailers: Pairs | None = None,
    complete: bool = True,
    **head: Any,
) -> Message:
    """What a plain 200 reads as, with differences."""
    shown = {"chunked": False, "content_length": None, "keep_alive": True, "status": 200, "version": "HTTP/1.1"}
    return Message(shown | head, headers or [], body, trailers, complete)


# (bytes, methods of the requests, whether the upstream closes behind them, what was read)
ANSWERED: dict[str, tuple[bytes, list[bytes], bool, list[Message]]] = {
    "content-length": (
        OK + fields(b"Content-Length: 5") + b"hello",
        [b"GET"],
        False,
        [response(b"hello", CL5, content_length=5)],
    ),
    "chunks": (
        OK + fields(b"Transfer-Encoding: chunked") + HELLO,
        [b"GET"],
        False,
        [response(b"hello", TE, chunked=True)],
    ),
    "until the close": (
        OK + fields(b"X: 1") + b"hello",
        [b"GET"],
        True,
        [response(b"hello", [(b"x", b"1")], keep_alive=False)],
    ),
    "nothing until the close": (OK + b"\r\n", [b"GET"], True, [response(keep_alive=False)]),
    "HTTP/1.0 until the close": (
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        [b"GET"],
        True,
        [response(b"hello", version="HTTP/1.0", keep_alive=False)],
    ),
    "HTTP/1.0 that stays": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        [b"GET"],
        False,
        [
            response(
                headers=[(b"connection", b"keep-alive"), (b"content-length", b"0")],
                content_length=0,
                version="HTTP/1.0",
            )
        ],
    ),
    "close": (
        OK + fields(b"Connection: close", b"Content-Length: 0"),
        [b"GET"],
        True,
        [response(headers=[(b"connection", b"close"), (b"content-length", b"0")], content_length=0, keep_alive=False)],
    ),
    "no reason": (
        b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n",
        [b"GET"],
        False,
        [response(headers=[(b"content-length", b"0")], content_length=0, status=404)],
    ),
    "empty reason": (
        b"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n",
        [b"GET"],
        False,
        [response(headers=[(b"content-length", b"0")], content_length=0, status=404)],
    ),
    "odd reason": (
        b"HTTP/1.1 599 \xc3\xa9 (a)\t!\r\nContent-Length: 0\r\n\r\n",
        [b"GET"],
        False,
        [response(headers=[(b"content-length", b"0")], content_length=0, status=599)],
    ),
    "HEAD": (
        OK + fields(b"Content-Length: 5") + OK + fields(b"Content-Length: 5") + b"hello",
        [b"HEAD", b"GET"],
        False,
        [response(b"", CL5, content_length=5), response(b"hello", CL5, content_length=5)],
    ),
    "HEAD with chunked": (
        OK + fields(b"Transfer-Encoding: chunked") + OK + fields(b"Content-Length: 0"),
        [b"HEAD", b"GET"],
        False,
        [response(b"", TE, chunked=True), response(b"", [(b"content-length", b"0")], content_length=0)],
    ),
    "HEAD without length": (OK + b"\r\n", [b"HEAD"], False, [response()]),
    "304 with length": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" + OK + fields(b"Content-Length: 5") + b"hello",
        [b"GET", b"GET"],
        False,
        [response(b"", CL5, content_length=5, status=304), response(b"hello", CL5, content_length=5)],
    ),
    "204": (
        b"HTTP/1.1 204 No Content\r\n\r\n" + OK + fields(b"Content-Length: 5") + b"hello",
        [b"GET", b"GET"],
        False,
        [response(status=204), response(b"hello", CL5, content_length=5)],
    ),
    "204 with length zero": (
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        [b"GET"],
        False,
        [response(headers=[(b"content-length", b"0")], content_length=0, status=204)],
    ),
    "1xx before": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        + OK
        + fields(b"Content-Length: 5")
        + b"hello",
        [b"GET"],
        False,
        [
            response(status=100),
            response(headers=[(b"link", b"x")], status=103),
            response(b"hello", CL5, content_length=5),
        ],
    ),
    "1xx before HEAD": (
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + fields(b"Content-Length: 5"),
        [b"HEAD"],
        False,
        [response(status=100), response(b"", CL5, content_length=5)],
    ),
    "trailers": (
        OK + fields(b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\nX: 1\r\n\r\n",
        [b"GET"],
        False,
        [response(b"hello", TE, trailers=[(b"x", b"1")], chunked=True)],
    ),
    "closed before anything": (b"", [b"GET"], True, []),
}
# (bytes, whether the upstream closes behind them, messages that are complete before the error)
MISBEHAVED: dict[str, tuple[bytes, bool, int]] = {
    "garbage": (b"garbage\r\n\r\n", False, 0),
    "zeros": (bytes(10), False, 0),
    "status of letters": (b"HTTP/1.1 abc OK\r\n\r\n", False, 0),
    "status 99": (b"HTTP/1.1 99 x\r\n\r\n", False, 0),
    "status 099": (b"HTTP/1.1 099 x\r\n\r\n", False, 0),
    "status 1000": (b"HTTP/1.1 1000 x\r\n\r\n", False, 0),
    "status 20": (b"HTTP/1.1 20 x\r\n\r\n", False, 0),
    "unsolicited 101": (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nraw", False, 0),
    "HTTP/2.0": (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", False, 0),
    "HTTP/0.9": (b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n", False, 0),
    "lower-case version": (b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", False, 0),
    "two spaces": (b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", False, 0),
    "NUL in the reason": (b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n", False, 0),
    "bad name": (OK + fields(b"X Y: 1", b"Content-Length: 0"), False, 0),
    "NUL in value": (OK + fields(b"X: a\0b", b"Content-Length: 0"), False, 0),
    "CR in value": (OK + fields(b"X: a\rb", b"Content-Length: 0"), False, 0),
    "LF alone": (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", False, 0),
    "folded line": (OK + fields(b"X: 1", b" 2", b"Content-Length: 0"), False, 0),
    "CL and TE": (OK + fields(b"Content-Length: 5", b"Transfer-Encoding: chunked") + HELLO, False, 0),
    "two CL": (OK + fields(b"Content-Length: 5", b"Content-Length: 6") + b"hello", False, 0),
    "the same CL twice": (OK + fields(b"Content-Length: 5", b"Content-Length: 5") + b"hello", False, 0),
    "bad CL": (OK + fields(b"Content-Length: +5") + b"hello", False, 0),
    "unknown TE": (OK + fields(b"Transfer-Encoding: gzip") + HELLO, True, 0),
    "TE with HTTP/1.0": (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO, False, 0),
    "204 with length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", False, 0),
    "204 with chunks": (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO, False, 0),
    "204 with a body": (b"HTTP/1.1 204 No Content\r\n\r\nhello", False, 1),
    "100 with length": (b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello" + OK, False, 0),
    "bad chunk": (OK + fields(b"Transfer-Encoding: chunked") + b"zz\r\n", False, 0),
    "101 fields": (OK + fields(*[b"X: 1"] * 101), False, 0),
    "90 KB of fields": (OK + fields(*[b"X: " + b"y" * 1000] * 90), False, 0),
    "90 KB of one field": (OK + fields(b"X: " + b"y" * 90_000), False, 0),
    "101 trailers": (OK + fields(b"Transfer-Encoding: chunked") + b"0\r\n" + b"X: 1\r\n" * 101 + b"\r\n", False, 0),
    "closed in the head": (OK + b"X: 1\r\n", True, 0),
    "closed in the status line": (b"HTT", True, 0),
    "closed in a body with length": (OK + fields(b"Content-Length: 5") + b"hell", True, 0),
    "closed before a body with length": (OK + fields(b"Content-Length: 5"), True, 0),
    "closed in chunks": (OK + fields(b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n", True, 0),
    "closed before the last line": (OK + fields(b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n", True, 0),
    "closed after 100": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1", True, 1),
    "a second response": (OK + fields(b"Content-Length: 0") + OK + fields(b"Content-Length: 0"), False, 1),
    "bytes behind the response": (OK + fields(b"Content-Length: 5") + b"helloPOISON", False, 1),
    "bytes behind the last response": (OK + fields(b"Content-Length: 0", b"Connection: close") + b"POISON", False, 1),
    "a 1xx that nobody waits for": (OK + fields(b"Content-Length: 0") + b"HTTP/1.1 100 Continue\r\n\r\n", False, 1),
}
