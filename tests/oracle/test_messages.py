"""How messages are framed and relayed: bodies, trailers, 1xx, hop-by-hop headers, header case."""

from __future__ import annotations

import pytest

from tests.oracle.case import Case, Json, chunked, cluster, get, in_turn, post, request, route
from tests.oracle.conftest import Pair
from tests.support.downstream import AwaitReply, Wait
from tests.support.upstream import OK, AwaitBody, Close, Pause, Send, raw, reply

BIG = bytes(range(256)) * 1200  # more than any buffer that is filled in one read
# A long body is read in pieces of any size, and each becomes a chunk.
CUT_ANYHOW = ("log.*_wire_bytes_*",)
HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
TRAILERS_ON = {"http_protocol_options": {"enable_trailers": True}}


def upstream_options(name: str, **options: object) -> Json:
    """A cluster with these options of its HTTP/1.1 codec."""
    typed = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http_protocol_options": options},
    }
    return cluster(
        name, typed_extension_protocol_options={"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed}
    )


TRAILING_CLUSTER = upstream_options("trailing", enable_trailers=True)

REQUEST_BODIES = [
    Case(id="post-length", send=[post("/", b"hello")], status=200),
    Case(id="post-length-zero", send=[request("POST", "/", "Content-Length: 0")], status=200),
    Case(id="post-without-length", send=[request("POST", "/")], status=200),
    Case(id="post-chunked", send=[chunked("/", b"hello", b"world")], status=200),
    Case(id="post-chunked-empty", send=[chunked("/")], status=200),
    Case(
        id="post-chunk-extensions",
        send=[request("POST", "/", "Transfer-Encoding: chunked") + b"5;a=b;c\r\nhello\r\n0;x\r\n\r\n"],
        status=200,
    ),
    Case(
        id="post-chunk-size-upper-and-zeros",
        send=[request("POST", "/", "Transfer-Encoding: Chunked") + b"000A\r\n0123456789\r\n0\r\n\r\n"],
        status=200,
    ),
    Case(
        id="post-in-pieces",
        send=[request("POST", "/", "Content-Length: 6"), Wait(0.02), b"abc", Wait(0.02), b"def"],
        status=200,
        replies=1,
        methods=["POST"],
    ),
    Case(
        id="head-in-pieces",
        send=[b"GET / HT", Wait(0.02), b"TP/1.1\r\nHo", Wait(0.02), b"st: $HOST\r", Wait(0.02), b"\n\r\n"],
        status=200,
        replies=1,
        methods=["GET"],
    ),
    Case(
        id="post-chunks-in-pieces",
        send=[
            request("POST", "/", "Transfer-Encoding: chunked") + b"5\r",
            Wait(0.02),
            b"\nhel",
            Wait(0.02),
            b"lo\r\n0\r\n",
            Wait(0.02),
            b"\r\n",
        ],
        status=200,
        replies=1,
        methods=["POST"],
    ),
    Case(id="post-big", send=[post("/", BIG)], status=200),
    Case(
        id="post-big-chunked",
        send=[chunked("/", BIG, BIG)],
        status=200,
        ignore=CUT_ANYHOW,
    ),
    Case(id="post-trailers-dropped", send=[chunked("/", b"hello", trailers=b"X-Trailer: v\r\n")], status=200),
    Case(
        id="post-trailers-dropped-by-upstream",
        hcm=TRAILERS_ON,
        send=[chunked("/", b"hello", trailers=b"X-Trailer: v\r\n")],
        status=200,
    ),
    Case(
        id="post-trailers",
        hcm=TRAILERS_ON,
        clusters=[TRAILING_CLUSTER],
        routes=[route(cluster="trailing")],
        send=[chunked("/", b"hello", trailers=b"X-Trailer: v\r\nx-two: w\r\n")],
        status=200,
    ),
    Case(
        id="post-trailers-without-body",
        hcm=TRAILERS_ON,
        clusters=[TRAILING_CLUSTER],
        routes=[route(cluster="trailing")],
        send=[chunked("/", trailers=b"X-Trailer: v\r\n")],
        status=200,
    ),
    Case(id="get-with-body", send=in_turn(request("GET", "/", body=b"hello"), get("/next")), status=(200, 200)),
    Case(id="delete-with-body", send=[request("DELETE", "/", body=b"x")], status=200),
    Case(id="options", send=[request("OPTIONS", "/x")], status=200),
    Case(
        id="put-and-patch",
        send=in_turn(request("PUT", "/", body=b"x"), request("PATCH", "/", body=b"y")),
        status=(200, 200),
    ),
    Case(id="trace", send=[request("TRACE", "/")], status=200),
    Case(
        id="expect-continue",
        send=[request("POST", "/", "Content-Length: 5", "Expect: 100-continue"), AwaitReply(), b"hello"],
        status=200,
        replies=1,
        methods=["POST"],
    ),
    Case(id="expect-continue-body-at-once", send=[post("/", b"hello", "Expect: 100-Continue")], status=200),
    Case(id="expect-continue-without-body", send=[get("/", "Expect: 100-continue")], status=200),
    Case(id="expect-other", send=[post("/", b"hello", "Expect: the-best")], status=200),
    Case(
        id="expect-continue-proxied",
        hcm={"proxy_100_continue": True},
        send=[request("POST", "/", "Content-Length: 5", "Expect: 100-continue"), AwaitReply(), b"hello"],
        upstream=[(Send(b"HTTP/1.1 100 Continue\r\n\r\n"), AwaitBody(), Send(HELLO))],
        status=200,
        replies=1,
        methods=["POST"],
    ),
]

RESPONSE_BODIES = [
    Case(
        id="reply-chunked",
        send=[get("/")],
        upstream=[raw(CHUNKED + b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")],
        status=200,
    ),
    Case(id="reply-chunked-empty", send=[get("/")], upstream=[raw(CHUNKED + b"0\r\n\r\n")], status=200),
    Case(
        id="reply-chunk-by-chunk",
        send=[get("/")],
        upstream=[
            (Send(CHUNKED + b"2\r\nhe\r\n"), Pause(0.02), Send(b"3\r\nllo\r\n"), Pause(0.02), Send(b"0\r\n\r\n"))
        ],
        status=200,
    ),
    Case(
        id="reply-head-alone-first",
        send=[get("/")],
        upstream=[(Send(HELLO[:-5]), Pause(0.02), Send(HELLO[-5:]))],
        status=200,
    ),
    Case(
        id="reply-byte-by-byte",
        send=[get("/")],
        upstream=[tuple(Send(HELLO[n : n + 1]) for n in range(len(HELLO)))],
        status=200,
    ),
    Case(
        id="reply-until-close",
        send=[get("/"), AwaitReply(), get("/2")],
        upstream=[(AwaitBody(), Send(b"HTTP/1.1 200 OK\r\n\r\nhello"), Pause(0.02), Close()), OK],
        status=(200, 200),
    ),
    Case(
        id="reply-http10",
        send=[get("/"), AwaitReply(), get("/2")],
        upstream=[(AwaitBody(), Send(b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello")), OK],
        status=(200, 200),
    ),
    Case(
        id="reply-http10-keep-alive",
        send=[get("/"), AwaitReply(), get("/2")],
        upstream=[
            (AwaitBody(), Send(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello")),
            OK,
        ],
        status=(200, 200),
    ),
    Case(id="reply-big", send=[get("/")], upstream=[reply("200 OK", BIG)], status=200),
    Case(
        id="reply-big-chunked",
        send=[get("/")],
        upstream=[raw(CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BIG), BIG))],
        status=200,
        ignore=CUT_ANYHOW,
    ),
    Case(
        id="reply-trailers-dropped",
        send=[get("/")],
        upstream=[raw(CHUNKED + b"2\r\nok\r\n0\r\nX-Trailer: v\r\n\r\n")],
        status=200,
    ),
    Case(
        id="reply-trailers",
        hcm=TRAILERS_ON,
        clusters=[TRAILING_CLUSTER],
        routes=[route(cluster="trailing")],
        send=[get("/")],
        upstream=[raw(CHUNKED + b"2\r\nok\r\n0\r\nX-Trailer: v\r\nx-trailer: w\r\n\r\n")],
        status=200,
    ),
    Case(
        id="reply-head",
        send=[request("HEAD", "/"), AwaitReply(), get("/2")],
        upstream=[raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"), OK],
        status=(200, 200),
    ),
    Case(
        id="reply-head-chunked",
        send=[request("HEAD", "/"), AwaitReply(), get("/2")],
        upstream=[raw(CHUNKED), OK],
        status=(200, 200),
    ),
    Case(
        id="reply-head-without-length",
        send=[request("HEAD", "/")],
        upstream=[raw(b"HTTP/1.1 200 OK\r\n\r\n")],
        status=200,
    ),
    Case(
        id="reply-204",
        send=[get("/"), AwaitReply(), get("/2")],
        upstream=[raw(b"HTTP/1.1 204 No Content\r\n\r\n"), OK],
        status=(204, 200),
    ),
    Case(id="reply-204-length-zero", send=[get("/")], upstream=[reply("204 No Content", b"")], status=204),
    Case(
        id="reply-304",
        send=[get("/"), AwaitReply(), get("/2")],
        upstream=[raw(b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n"), OK],
        status=(304, 200),
    ),
    Case(
        id="reply-304-with-length",
        send=[get("/"), AwaitReply(), get("/2")],
        upstream=[raw(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n"), OK],
        status=(304, 200),
    ),
    Case(id="reply-205", send=[get("/")], upstream=[reply("205 Reset Content", b"")], status=205),
    Case(id="reply-reason-replaced", send=[get("/")], upstream=[reply("200 Fabulous", b"ok")], status=200),
    Case(
        id="reply-without-reason",
        send=[get("/")],
        upstream=[raw(b"HTTP/1.1 404\r\ncontent-length: 0\r\n\r\n")],
        status=404,
    ),
    Case(id="reply-unknown-status", send=[get("/")], upstream=[reply("799 Odd", b"ok")], status=799),
    Case(
        id="reply-many-statuses",
        send=in_turn(*(get(f"/{code}") for code in (206, 301, 400, 401, 429, 500))),
        upstream=[reply(f"{code} X", b"b") for code in (206, 301, 400, 401, 429, 500)],
        status=(206, 301, 400, 401, 429, 500),
    ),
    Case(
        id="reply-interim-103",
        send=[get("/")],
        upstream=[raw(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + HELLO)],
        status=200,
    ),
    Case(
        id="reply-interim-100",
        send=[get("/")],
        upstream=[raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + HELLO)],
        status=200,
    ),
    Case(
        id="reply-interim-102", send=[get("/")], upstream=[raw(b"HTTP/1.1 102 Processing\r\n\r\n" + HELLO)], status=200
    ),
    Case(
        id="reply-headers",
        send=[get("/")],
        upstream=[
            reply(
                "200 OK",
                b"ok",
                "X-Mixed-Case: Value",
                "x-empty:",
                "x-spaces:   a  b  ",
                "x-tab:\tv\t",
                "x-dup: 1",
                "x-dup: 2",
                "x-utf8: caf\u00e9",
            )
        ],
        status=200,
    ),
    Case(
        id="reply-inline-duplicates",
        send=[get("/")],
        upstream=[
            reply(
                "200 OK",
                b"ok",
                "cache-control: a",
                "vary: x",
                "cache-control: b",
                "vary: y",
                "set-cookie: 1",
                "set-cookie: 2",
                "etag: 1",
                "etag: 2",
            )
        ],
        status=200,
    ),
    Case(
        id="reply-hop-by-hop",
        send=[get("/")],
        upstream=[
            reply(
                "200 OK",
                b"ok",
                "connection: x-hop, keep-alive",
                "keep-alive: timeout=5",
                "x-hop: 1",
                "proxy-connection: keep-alive",
                "proxy-authenticate: Basic",
                "te: trailers",
                "upgrade: foo",
            )
        ],
        status=200,
    ),
]

REQUEST_HEADERS = [
    Case(
        id="request-headers",
        send=[
            get(
                "/",
                "X-Mixed-Case: Value",
                "x-empty:",
                "x-spaces:   a  b  ",
                "x-tab:\tv\t",
                "x-dup: 1",
                "x-dup: 2",
                "x-utf8: caf\u00e9",
                "x_under: score",
            )
        ],
        status=200,
    ),
    Case(
        id="request-inline-duplicates",
        send=[
            get(
                "/",
                "accept: a",
                "x-between: 1",
                "accept: b",
                "cookie: a=1",
                "cookie: b=2",
                "user-agent: 1",
                "user-agent: 2",
                "x-forwarded-host: 1",
                "x-forwarded-host: 2",
            )
        ],
        status=200,
    ),
    Case(
        id="request-hop-by-hop",
        send=[
            get(
                "/",
                "Connection: x-hop, keep-alive",
                "Keep-Alive: timeout=5",
                "x-hop: 1",
                "Proxy-Connection: keep-alive",
                "Proxy-Authorization: Basic",
                "TE: trailers",
                "Trailer: x",
            )
        ],
        status=200,
    ),
    Case(id="request-te-gzip", send=[get("/", "TE: gzip")], status=200),
    Case(id="request-te-trailers-named", send=[get("/", "TE: trailers, gzip", "Connection: TE")], status=200),
    Case(id="request-host-not-first", send=[b"GET / HTTP/1.1\r\nX-A: 1\r\nHost: $HOST\r\nX-B: 2\r\n\r\n"], status=200),
    Case(
        id="request-h2c",
        send=[get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAA")],
        status=200,
    ),
    Case(
        id="request-upgrade-refused",
        send=[get("/", "Connection: Upgrade", "Upgrade: websocket")],
        status=403,
        details="upgrade_failed",
    ),
    Case(id="request-upgrade-without-connection", send=[get("/", "Upgrade: websocket")], status=200),
    Case(id="request-absolute-form", send=[get("http://$HOST/x?y", host="elsewhere.test")], status=200),
    Case(id="request-absolute-form-https", send=[get("https://$HOST/x")], status=200),
    Case(id="request-absolute-form-no-path", send=[get("http://$HOST")], status=200),
    Case(id="request-target-characters", send=[get("/a;b=c/~d/!e/'(f)*/:@/%7e?x=[y]&z={}|\\^`\"<>")], status=200),
    Case(id="request-headers-100", send=[get("/", *(f"x-{n}: {n}" for n in range(90)))], status=200),
    Case(id="request-long-target", send=[get("/" + "a" * 8000)], status=200),
]

SMALL_BUFFERS = [
    Case(
        id="small-buffers",
        listener={"per_connection_buffer_limit_bytes": 1024},
        clusters=[cluster("small", per_connection_buffer_limit_bytes=1024)],
        routes=[route(cluster="small")],
        send=in_turn(post("/", BIG), chunked("/", BIG), get("/")),
        upstream=[reply("200 OK", BIG)],
        status=(200, 200, 200),
        ignore=CUT_ANYHOW,
    ),
]

HEADER_CASE = [
    Case(
        id="case-proper-words",
        hcm={"http_protocol_options": {"header_key_format": {"proper_case_words": {}}}},
        send=[get("/", "x-mixed-case: 1")],
        upstream=[reply("200 OK", b"ok", "x-upstream-header: 1", "etag: x")],
        status=200,
    ),
    Case(
        id="case-proper-words-upstream",
        clusters=[upstream_options("proper", header_key_format={"proper_case_words": {}})],
        routes=[route(cluster="proper")],
        send=[get("/", "x-mixed-case: 1")],
        status=200,
    ),
]

CASES = REQUEST_BODIES + RESPONSE_BODIES + REQUEST_HEADERS + SMALL_BUFFERS + HEADER_CASE


@pytest.mark.oracle
@pytest.mark.xdist_group("messages")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
