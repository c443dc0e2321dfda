"""Requests that both engines have to read, and what they mean."""

from __future__ import annotations

from typing import Any

from pyproxy.http.codec import CodecOptions
from tests.http.h1_playbook import Message, Pairs

STRICT = CodecOptions()
GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
TE: Pairs = [(b"transfer-encoding", b"chunked")]


def fields(*lines: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def get(*lines: bytes) -> bytes:
    return GET + fields(*lines)


def request(body: bytes = b"", headers: Pairs | None = None, trailers: Pairs | None = None, **head: Any) -> Message:
    """What a plain GET reads as, with differences."""
    shown = {
        "chunked": False,
        "content_length": None,
        "expect_continue": False,
        "host": b"a",
        "keep_alive": True,
        "method": b"GET",
        "scheme": None,
        "target": b"/",
        "upgrade": False,
        "version": "HTTP/1.1",
    }
    return Message(shown | head, headers or [], body, trailers, complete=True)


def post(body: bytes = b"", headers: Pairs | None = None, trailers: Pairs | None = None, **head: Any) -> Message:
    return request(body, headers, trailers, method=b"POST", target=b"/p", **head)


def chunked(body: bytes, trailers: Pairs | None = None) -> Message:
    return post(body, TE, trailers, chunked=True)


ACCEPTED: dict[str, tuple[bytes, CodecOptions, list[Message]]] = {
    "simple": (get(), STRICT, [request()]),
    "names are lower case, values as they came": (
        get(b"X-Some: Thing", b"x-OTHER:  a  b \t"),
        STRICT,
        [request(headers=[(b"x-some", b"Thing"), (b"x-other", b"a  b")])],
    ),
    "duplicates stay apart": (
        get(b"X: 1", b"Cookie: a", b"X: 2", b"Cookie: b"),
        STRICT,
        [request(headers=[(b"x", b"1"), (b"cookie", b"a"), (b"x", b"2"), (b"cookie", b"b")])],
    ),
    "empty value": (get(b"X:", b"Y: "), STRICT, [request(headers=[(b"x", b""), (b"y", b"")])]),
    "value of other characters": (
        get(b'X: \xc3\xa9\xff\t"(),/:;<=>?@[\\]{}'),
        STRICT,
        [request(headers=[(b"x", b'\xc3\xa9\xff\t"(),/:;<=>?@[\\]{}')])],
    ),
    "name of every token character": (
        get(b"!#$%&'*+-.^_`|~0Z: 1"),
        STRICT,
        [request(headers=[(b"!#$%&'*+-.^_`|~0z", b"1")])],
    ),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", STRICT, [request(host=None)]),
    "host with port": (b"GET / HTTP/1.1\r\nHost: a.b:80\r\n\r\n", STRICT, [request(host=b"a.b:80")]),
    "host as IPv6": (b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", STRICT, [request(host=b"[::1]:80")]),
    "query": (b'GET /a?b=%20&c=/?" HTTP/1.1\r\nHost: a\r\n\r\n', STRICT, [request(target=b'/a?b=%20&c=/?"')]),
    "two slashes": (b"GET //a/../b HTTP/1.1\r\nHost: a\r\n\r\n", STRICT, [request(target=b"//a/../b")]),
    "absolute form": (
        b"GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
        STRICT,
        [request(scheme=b"http", host=b"b:81", target=b"/x?y")],
    ),
    "absolute form without path": (
        b"GET HTTPS://b?y HTTP/1.1\r\nHost: a\r\n\r\n",
        STRICT,
        [request(scheme=b"https", host=b"b", target=b"/?y")],
    ),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", STRICT, [request(method=b"OPTIONS", target=b"*")]),
    "content-length": (
        POST + fields(b"Content-Length: 5") + b"hello",
        STRICT,
        [post(b"hello", [(b"content-length", b"5")], content_length=5)],
    ),
    "content-length of zero": (
        POST + fields(b"Content-Length: 0"),
        STRICT,
        [post(headers=[(b"content-length", b"0")], content_length=0)],
    ),
    "a GET with a body is not read as the next request": (
        get(b"Content-Length: 27") + GET + b"\r\n" + get(),
        STRICT,
        [request(GET + b"\r\n", [(b"content-length", b"27")], content_length=27), request()],
    ),
    "chunks": (CHUNKED + b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n", STRICT, [chunked(b"hello, world")]),
    "one byte chunks": (CHUNKED + b"1\r\nx\r\n" * 20 + b"0\r\n\r\n", STRICT, [chunked(b"x" * 20)]),
    "no chunks": (CHUNKED + b"0\r\n\r\n", STRICT, [chunked(b"")]),
    "chunk sizes in either case, with zeros": (
        CHUNKED + b"A\r\n0123456789\r\n0000a\r\n0123456789\r\n000\r\n\r\n",
        STRICT,
        [chunked(b"0123456789" * 2)],
    ),
    "line ends within a chunk": (
        CHUNKED + b"9\r\n\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n",
        STRICT,
        [chunked(b"\r\n0\r\n\r\n\r\n")],
    ),
    "chunk extensions": (
        CHUNKED + b'5;a\r\nhello\r\n1;a=b;c="d \\" e";f\r\n!\r\n0;x=y\r\n\r\n',
        STRICT,
        [chunked(b"hello!")],
    ),
    "chunked in capitals": (
        POST + fields(b"Transfer-Encoding: CHUNKED") + HELLO,
        STRICT,
        [post(b"hello", [(b"transfer-encoding", b"CHUNKED")], chunked=True)],
    ),
    "trailers are dropped": (CHUNKED + b"0\r\nX: 1\r\nY: 2\r\n\r\n", STRICT, [chunked(b"")]),
    "trailers are kept": (
        CHUNKED + b"1\r\nx\r\n0\r\nX-Sum: A\r\nY: 2\r\n\r\n" + get(),
        CodecOptions(keep_trailers=True),
        [chunked(b"x", [(b"x-sum", b"A"), (b"y", b"2")]), request()],
    ),
    "trailers that only mean something in a head are dropped": (
        CHUNKED + b"0\r\nHost: b\r\nTrailer: x\r\nX: 1\r\n\r\n",
        CodecOptions(keep_trailers=True),
        [chunked(b"", [(b"x", b"1")])],
    ),
    "pipelined": (get() + CHUNKED + HELLO + get(), STRICT, [request(), chunked(b"hello"), request()]),
    "a few empty lines before a request": (b"\r\n" * 20 + get() + b"\r\n" + get(), STRICT, [request(), request()]),
    "close": (
        get(b"Connection: close"),
        STRICT,
        [request(headers=[(b"connection", b"close")], keep_alive=False)],
    ),
    "what follows a close is ignored": (
        get(b"Connection: x, Close") + get() + b"junk",
        STRICT,
        [request(headers=[(b"connection", b"x, Close")], keep_alive=False)],
    ),
    "what follows a close with a body is ignored": (
        POST + fields(b"Connection: close", b"Content-Length: 2") + b"ok" + get(),
        STRICT,
        [post(b"ok", [(b"connection", b"close"), (b"content-length", b"2")], content_length=2, keep_alive=False)],
    ),
    "closed is not close": (get(b"Connection: closed"), STRICT, [request(headers=[(b"connection", b"closed")])]),
    "close in the trailers closes nothing": (
        CHUNKED + b"0\r\nConnection: close\r\n\r\n" + get(),
        STRICT,
        [chunked(b""), request()],
    ),
    "expect": (
        POST + fields(b"Expect: 100-Continue", b"Content-Length: 1") + b"x",
        STRICT,
        [
            post(
                b"x",
                [(b"expect", b"100-Continue"), (b"content-length", b"1")],
                content_length=1,
                expect_continue=True,
            )
        ],
    ),
    "upgrade": (
        get(b"Connection: keep-alive, Upgrade", b"Upgrade: websocket") + get(),
        STRICT,
        [
            request(headers=[(b"connection", b"keep-alive, Upgrade"), (b"upgrade", b"websocket")], upgrade=True),
            request(),
        ],
    ),
    "upgrade that nobody announced": (get(b"Upgrade: h2c"), STRICT, [request(headers=[(b"upgrade", b"h2c")])]),
    "the body of an upgrade is not read as the next request": (
        POST + fields(b"Connection: upgrade", b"Upgrade: x", b"Content-Length: 27") + GET + b"\r\n" + get(),
        STRICT,
        [
            post(
                GET + b"\r\n",
                [(b"connection", b"upgrade"), (b"upgrade", b"x"), (b"content-length", b"27")],
                content_length=27,
                upgrade=True,
            ),
            request(),
        ],
    ),
    "chunks of an upgrade are not read as the next request": (
        POST + fields(b"Connection: upgrade", b"Upgrade: h2c", b"Transfer-Encoding: chunked") + HELLO + get(),
        STRICT,
        [
            post(
                b"hello",
                [(b"connection", b"upgrade"), (b"upgrade", b"h2c"), *TE],
                chunked=True,
                upgrade=True,
            ),
            request(),
        ],
    ),
    "HTTP/1.0": (
        b"GET / HTTP/1.0\r\n\r\n" + get(),
        CodecOptions(allow_http10=True),
        [request(version="HTTP/1.0", host=None, keep_alive=False)],
    ),
    "HTTP/1.0 that stays": (
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get(),
        CodecOptions(allow_http10=True),
        [request(version="HTTP/1.0", host=None, headers=[(b"connection", b"keep-alive")]), request()],
    ),
    "any method": (
        b"FooBar / HTTP/1.1\r\nHost: a\r\n\r\n",
        CodecOptions(allow_custom_methods=True),
        [request(method=b"FooBar")],
    ),
    "lenient: folded line": (
        get(b"X: 1", b"  2 ", b"\t3", b"Y: 4"),
        CodecOptions(lenient=True),
        [request(headers=[(b"x", b"1 2 3"), (b"y", b"4")])],
    ),
    "lenient: LF alone": (
        b"GET / HTTP/1.1\nHost: a\nX: 1\r\n\n" + get(),
        CodecOptions(lenient=True),
        [request(headers=[(b"x", b"1")]), request()],
    ),
    "100 fields": (get(*[b"X: 1"] * 99), STRICT, [request(headers=[(b"x", b"1")] * 99)]),
    "extensions below the limit": (
        CHUNKED + b"5;a=" + b"b" * 16_000 + b"\r\nhello\r\n0\r\n\r\n",
        STRICT,
        [chunked(b"hello")],
    ),
}
for _method in b"GET HEAD POST PUT DELETE OPTIONS TRACE PATCH PROPFIND M-SEARCH QUERY".split():
    ACCEPTED[_method.decode()] = (_method + b" / HTTP/1.1\r\nHost: a\r\n\r\n", STRICT, [request(method=_method)])
