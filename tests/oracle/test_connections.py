"""When a connection is kept, closed or broken: keep-alive, pipelining, half-close, early answers."""

from __future__ import annotations

import pytest

from tests.oracle.case import Case, chunked, get, in_turn, post, request, route
from tests.oracle.conftest import Pair
from tests.support.downstream import Abort, AwaitReply, HalfClose, Wait
from tests.support.upstream import OK, AwaitBody, AwaitClose, Close, Pause, Send, raw, reply

# Envoy counts what was read together for every request in it.
READ_TOGETHER = ("log.*.downstream_wire_bytes_received",)
HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

CASES = [
    Case(
        id="keep-alive",
        send=in_turn(get("/1"), post("/2", b"x"), request("HEAD", "/3"), chunked("/4", b"y"), get("/5")),
        status=(200,) * 5,
        upstream=[OK, OK, raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"), OK],
    ),
    Case(
        id="pipeline",
        send=[get("/1") + post("/2", b"body") + get("/3")],
        methods=["GET", "POST", "GET"],
        status=(200, 200, 200),
        ignore=READ_TOGETHER,
    ),
    Case(
        id="pipeline-slow-first",
        send=[get("/1") + get("/2")],
        methods=["GET", "GET"],
        upstream=[(AwaitBody(), Pause(0.05), Send(HELLO)), OK],
        status=(200, 200),
        ignore=READ_TOGETHER,
    ),
    Case(
        id="pipeline-after-close",
        send=[get("/1") + get("/2", "Connection: close") + get("/3")],
        methods=["GET"] * 2,
        status=(200, 200),
        ignore=READ_TOGETHER,
    ),
    Case(
        id="pipeline-local-replies",
        routes=[route("/e", "empty"), route()],
        send=[get("/e") + get("/1") + get("/e")],
        methods=["GET"] * 3,
        status=(503, 200, 503),
        ignore=READ_TOGETHER,
    ),
    Case(
        id="pipeline-ends-in-garbage",
        send=[get("/1") + b"garbage\r\n\r\n"],
        methods=["GET"] * 2,
        status=(200, 400),
        ignore=READ_TOGETHER,
        closes=True,
    ),
    Case(id="leading-blank-lines", send=[b"\r\n\r\n" + get("/")], methods=["GET"], status=200),
    Case(id="close-asked", send=[get("/", "Connection: close")], status=200),
    Case(id="close-asked-among-others", send=[get("/", "Connection: foo, Close", "foo: 1")], status=200),
    Case(id="keep-alive-asked", send=in_turn(get("/", "Connection: keep-alive"), get("/")), status=(200, 200)),
    Case(
        id="close-by-upstream",
        send=in_turn(get("/1"), get("/2")),
        upstream=[
            (AwaitBody(), Send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello"), Close()),
            OK,
        ],
        status=(200, 200),
    ),
    Case(
        id="close-asked-by-upstream-not-done",
        send=in_turn(get("/1"), get("/2")),
        upstream=[reply("200 OK", b"ok", "connection: close"), OK],
        status=(200, 200),
    ),
    Case(
        id="half-close-after-request",
        send=[get("/"), Wait(0.05), HalfClose()],
        upstream=[(AwaitBody(), Pause(0.15), Send(HELLO))],
        status=(),
        replies=0,
        logs=1,
        closes=True,
    ),
    Case(
        id="half-close-in-body",
        send=[request("POST", "/", "Content-Length: 9") + b"abc", Wait(0.05), HalfClose()],
        status=(),
        replies=0,
        methods=["POST"],
        logs=1,
        closes=True,
    ),
    Case(
        id="abort-while-waiting",
        send=[get("/"), Wait(0.05), Abort()],
        upstream=[(AwaitBody(), Pause(0.2), Send(HELLO))],
        status=(),
        replies=0,
        logs=1,
        ignore=("end",),
    ),
    Case(
        id="bytes-after-reply",
        send=in_turn(get("/1"), get("/2")),
        upstream=[(AwaitBody(), Send(HELLO + b"POISON"), AwaitClose()), OK],
        status=(200, 200),
    ),
    Case(
        id="early-reply",
        send=[request("POST", "/", "Content-Length: 5") + b"he"],
        upstream=[(Send(b"HTTP/1.1 413 X\r\ncontent-length: 2\r\n\r\nno"), AwaitClose())],
        methods=["POST"],
        status=413,
        ignore=("upstream.0.complete", "upstream.0.body"),
    ),
    Case(
        id="early-reply-then-rest",
        send=[request("POST", "/", "Content-Length: 5") + b"he", AwaitReply(), b"llo" + get("/smuggled")],
        upstream=[(Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno"), AwaitClose())],
        methods=["POST"],
        status=200,
        ignore=("upstream.0.complete", "upstream.0.body", "end"),
    ),
    Case(
        id="early-head-late-body",
        send=[request("POST", "/", "Content-Length: 5") + b"he", Wait(0.05), b"llo"],
        upstream=[(Send(CHUNKED + b"2\r\nno\r\n"), AwaitBody(), Send(b"2\r\nok\r\n0\r\n\r\n"))],
        methods=["POST"],
        status=200,
    ),
    Case(
        id="local-reply-before-body",
        routes=[route(cluster="empty")],
        send=[request("POST", "/", "Content-Length: 5") + b"he"],
        methods=["POST"],
        status=503,
        ignore=READ_TOGETHER,
    ),
    Case(id="local-reply-after-body", routes=[route(cluster="refused")], send=[post("/", b"hello")], status=503),
    Case(
        id="no-delay-before-close",
        hcm={"delayed_close_timeout": "0s"},
        send=[b"GET / HTTP/1.1\r\nbad name: 1\r\n\r\n"],
        status=400,
    ),
    Case(
        id="error-keeps-connection",
        hcm={"stream_error_on_invalid_http_message": True},
        send=[b"GET / HTTP/1.1\r\n\r\n"],
        status=400,
    ),
    Case(
        id="bad-head-with-stream-errors",
        hcm={"stream_error_on_invalid_http_message": True},
        send=[b"GET / HTTP/1.1\r\nHost: a\r\nbad name: 1\r\n\r\n"],
        status=400,
    ),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("connections")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
