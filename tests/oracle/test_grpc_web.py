"""The grpc_web filter: what upstreams and downstreams get to see of a call that comes from a browser."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.oracle.bootstrap import TYPE, router
from tests.oracle.case import Case, chunked, cluster, get, post, request, route, says, with_trailers
from tests.oracle.conftest import RECORD, Pair
from tests.support.h2_downstream import Stream
from tests.support.upstream import Answer, AwaitBody, Close, raw, reply

WEB = {"name": "envoy.filters.http.grpc_web", "typed_config": {"@type": f"{TYPE}.filters.http.grpc_web.v3.GrpcWeb"}}
GRPC = "content-type: application/grpc"
BINARY = "content-type: application/grpc-web"
TEXT = "content-type: application/grpc-web-text"
PROTO = "content-type: application/grpc-web+proto"
WANTS_TEXT = "accept: application/grpc-web-text"
SIZES = ("log.*bytes*", "log.*wire*")


def message(size: int) -> bytes:
    return b"\0" + size.to_bytes(4, "big") + b"x" * size


# What was sent and noted before the bad part came is a matter of time.
EARLY = ("upstream.*", "log.0.upstream*", "log.0.bytes*", "log.0.*wire*", "log.0.*header*", "log.0.request_duration")
ONE, TWO = message(3), message(300)


def answer(*pieces: bytes, trailers: bytes = b"grpc-status: 0\r\ngrpc-message: all good\r\n") -> Answer:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n"
    return raw(head + chunks + b"0\r\n" + trailers + b"\r\n")


def call(id: str, send: Any, *answers: Answer, status: Any = 200, **more: Any) -> Case:  # noqa: A002
    more.setdefault("routes", [route(cluster=f"c-{id}")])
    return Case(
        id=id,
        hcm={"http_filters": [WEB, router()], "http_protocol_options": {"enable_trailers": True}},
        clusters=[cluster(f"c-{id}", **with_trailers())],
        send=send if isinstance(send, list) else [send],
        upstream=answers or [answer(ONE)],
        status=status,
        **more,
    )


def text(*pieces: bytes) -> bytes:
    return b"".join(base64.b64encode(piece) for piece in pieces)


H2 = (
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "$HOST"),
    (":path", "/a.S/M"),
    ("content-type", "application/grpc-web-text"),
    ("accept", "application/grpc-web-text"),
)
TOO_MANY = raw(b"HTTP/1.1 429 X\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nt: 1\r\n\r\n")
LONG = b"x" * 20_000
CASES = [
    call("binary", post("/a.S/M", ONE, BINARY)),
    call("binary-proto", post("/a.S/M", ONE, PROTO, "te: gzip", "grpc-accept-encoding: gzip", "accept: */*")),
    call("binary-chunked", chunked("/a.S/M", ONE, TWO, headers=[BINARY])),
    call("binary-stream", post("/a.S/M", ONE, BINARY), answer(ONE, TWO[:20], TWO[20:])),
    call("binary-empty", request("POST", "/a.S/M", BINARY)),
    call("binary-no-trailers", post("/a.S/M", ONE, BINARY), answer(ONE, trailers=b"")),
    call("binary-length", post("/a.S/M", ONE, BINARY), reply("200 OK", ONE, GRPC)),
    call("binary-head-only", post("/a.S/M", ONE, BINARY), reply("200 OK", b"", GRPC, "grpc-status: 12")),
    call("binary-bad-status", post("/a.S/M", ONE, BINARY), answer(trailers=b"grpc-status: 99\r\nA: B\r\n")),
    call("text", post("/a.S/M", text(ONE), TEXT, WANTS_TEXT)),
    call("text-proto", post("/a.S/M", text(ONE), TEXT + "+proto", WANTS_TEXT + "+proto")),
    call("text-in", post("/a.S/M", text(ONE), TEXT)),
    call("text-out", post("/a.S/M", ONE, BINARY, WANTS_TEXT)),
    call("text-chunked", chunked("/a.S/M", text(ONE + TWO)[:5], text(ONE + TWO)[5:], headers=[TEXT, WANTS_TEXT])),
    call("text-stream", post("/a.S/M", text(ONE), TEXT, WANTS_TEXT), answer(ONE, TWO[:20], TWO[20:])),
    call("text-empty", request("POST", "/a.S/M", TEXT, WANTS_TEXT)),
    call("text-bad-size", post("/a.S/M", text(ONE) + b"AAA", TEXT), status=400, ignore=EARLY),
    call("text-bad-size-small", post("/a.S/M", b"AAA", TEXT), status=400, ignore=EARLY),
    call("text-bad", post("/a.S/M", b"????", TEXT), status=400, ignore=EARLY),
    call("text-head-only", post("/a.S/M", text(ONE), TEXT, WANTS_TEXT), reply("200 OK", b"", GRPC, "grpc-status: 12")),
    call("text-junk", post("/a.S/M", text(ONE), TEXT, WANTS_TEXT), answer(b"\0\0\0")),
    call("not-web", post("/a.S/M", ONE, GRPC)),
    call("not-web-json", post("/a.S/M", ONE, "content-type: application/grpc-web+json")),
    call("not-web-get", get("/a.S/M")),
    call("get", get("/a.S/M", BINARY)),
    call("error", post("/a.S/M", ONE, BINARY), reply("503 X", b"went wrong %", "content-type: text/plain"), status=503),
    call("error-text", post("/a.S/M", text(ONE), TEXT, WANTS_TEXT), reply("404 X", b"went wrong"), status=404),
    call("error-long", post("/a.S/M", ONE, BINARY), reply("500 X", LONG), status=500),
    call("error-empty", post("/a.S/M", ONE, BINARY), reply("404 X", b""), status=404),
    call("error-grpc", post("/a.S/M", ONE, BINARY), reply("503 X", ONE, GRPC), status=503),
    call(
        "error-chunked",
        post("/a.S/M", ONE, BINARY),
        TOO_MANY,
        status=429,
        ignore=("log.0.response_trailers_bytes",),
    ),
    call("not-grpc", post("/a.S/M", ONE, BINARY), reply("200 OK", b"hello", "content-type: text/plain")),
    call("gone", post("/a.S/M", ONE, BINARY), (AwaitBody(), Close()), status=503),
    call("no-route", post("/a.S/M", ONE, BINARY), routes=[], status=404),
    call("direct", post("/a.S/M", text(ONE), TEXT, WANTS_TEXT), routes=[says("no", {"prefix": "/"})], ignore=("end",)),
    call("h2", Stream(H2, text(ONE)), h2=True, ignore=SIZES),
    call("h2-stream", Stream(H2, text(ONE)), answer(ONE, TWO, ONE), h2=True, ignore=SIZES),
    call("h2-head-only", Stream(H2, text(ONE)), reply("200 OK", b"", GRPC, "grpc-status: 3"), h2=True, ignore=SIZES),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("grpc_web")
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.id))
def test_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)


@pytest.mark.oracle
@pytest.mark.xdist_group("grpc_web")
@pytest.mark.skipif(RECORD is not None, reason="only Envoy runs when its behaviour is recorded")
def test_counts_as_envoy(pair: Pair) -> None:
    for case in CASES:
        pair.play(case)
    theirs, ours = ({name: value for name, value in one.items() if ".grpc-web." in name} for one in pair.stats())
    assert len(theirs) > 20
    assert {name: value for name, value in ours.items() if value != "0"} == theirs
