"""The grpc_http1_bridge filter: calls by HTTP/1.1, as gRPC or as bare protobuf, and the answers to them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.bootstrap import TYPE, router
from tests.oracle.case import Case, Differs, Json, chunked, cluster, get, post, request, route, says, with_trailers
from tests.oracle.conftest import Pair
from tests.support.h2_downstream import Stream
from tests.support.upstream import Answer, AwaitBody, Close, Send, raw, reply

GRPC = "content-type: application/grpc"
PROTO = "content-type: application/x-protobuf"
SIZES = ("log.*bytes*", "log.*wire*")


def message(size: int) -> bytes:
    return b"\0" + size.to_bytes(4, "big") + b"x" * size


ONE, TWO = message(3), message(300)


def answer(*pieces: bytes, trailers: bytes = b"grpc-status: 0\r\ngrpc-message: all good\r\n") -> Answer:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n"
    return raw(head + chunks + b"0\r\n" + trailers + b"\r\n")


def call(id: str, send: Any, *answers: Answer, status: Any = 200, config: Json | None = None, **more: Any) -> Case:  # noqa: A002
    more.setdefault("routes", [route(cluster=f"c-{id}")])
    typed = {"@type": f"{TYPE}.filters.http.grpc_http1_bridge.v3.Config", **(config or {})}
    bridge = {"name": "envoy.filters.http.grpc_http1_bridge", "typed_config": typed}
    return Case(
        id=id,
        hcm={"http_filters": [bridge, router()], "http_protocol_options": {"enable_trailers": True}},
        clusters=[cluster(f"c-{id}", **with_trailers())],
        send=send if isinstance(send, list) else [send],
        upstream=answers or [answer(ONE)],
        status=status,
        **more,
    )


def upgraded(id: str, send: Any, *answers: Answer, config: Json | None = None, **more: Any) -> Case:  # noqa: A002
    return call(id, send, *answers, config={"upgrade_protobuf_to_grpc": True, **(config or {})}, **more)


H2 = (
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "$HOST"),
    (":path", "/a.S/M"),
)
BEGUN = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n8\r\n" + ONE + b"\r\n"
ANCHOR = "grpc-http1-bridge"
WHOLE = Differs(ANCHOR, {"reply.0.complete": "True", "reply.0.body": "xxx"})
UNCUT = Differs(ANCHOR, {"reply.0.complete": "True", "reply.0.body": "what is this"})
FRAMED = Differs(ANCHOR, {"upstream.0.body": ONE.decode(), "reply.0.body": "xxx", "reply.0.start": "HTTP/2 200"})
CASES = [
    call("plain", post("/a.S/M", ONE, GRPC)),
    call("plain-chunked", chunked("/a.S/M", ONE, headers=[GRPC])),
    call("plain-stream", post("/a.S/M", ONE, GRPC), answer(ONE, TWO[:5], TWO[5:])),
    call(
        "plain-failed",
        post("/a.S/M", ONE, GRPC),
        answer(trailers=b"grpc-status: 5\r\ngrpc-message: no%20\r\n"),
        status=503,
    ),
    call("plain-odd", post("/a.S/M", ONE, GRPC), answer(ONE, trailers=b"grpc-status: x\r\na: b\r\n"), status=503),
    call("plain-no-status", post("/a.S/M", ONE, GRPC), answer(ONE, trailers=b"")),
    call("plain-other-trailers", post("/a.S/M", ONE, GRPC), answer(ONE, trailers=b"a: b\r\n")),
    call("plain-head", post("/a.S/M", ONE, GRPC), reply("200 OK", b"", GRPC, "grpc-status: 5", "grpc-message: no")),
    call("plain-length", post("/a.S/M", ONE, GRPC), reply("200 OK", ONE, GRPC)),
    call("plain-error", post("/a.S/M", ONE, GRPC), reply("404 X", b"what"), status=404),
    call("plain-empty", request("POST", "/a.S/M", GRPC)),
    call("plain-gone", post("/a.S/M", ONE, GRPC), (AwaitBody(), Close())),
    call("plain-cut", post("/a.S/M", ONE, GRPC), (AwaitBody(), Send(BEGUN), Close()), status=200),
    call("plain-no-route", post("/a.S/M", ONE, GRPC), routes=[]),
    call("plain-direct", post("/a.S/M", ONE, GRPC), routes=[says("no", {"prefix": "/"})]),
    call("proto", post("/a.S/M", ONE, PROTO)),
    call("other", get("/a.S/M")),
    call("h2", Stream((*H2, ("content-type", "application/grpc")), ONE), h2=True, ignore=SIZES),
    upgraded("up", post("/a.S/M?a=b", ONE[5:], PROTO)),
    upgraded("up-query", post("/a.S/M?a=b", ONE[5:], PROTO), config={"ignore_query_parameters": True}),
    upgraded("up-chunked", chunked("/a.S/M", b"ab", b"c", headers=[PROTO])),
    upgraded("up-empty", request("POST", "/a.S/M", PROTO)),
    upgraded("up-empty-answer", post("/a.S/M", ONE[5:], PROTO), answer(message(0))),
    upgraded("up-pieces", post("/a.S/M", ONE[5:], PROTO), answer(ONE[:3], ONE[3:])),
    upgraded("up-two", post("/a.S/M", ONE[5:], PROTO), answer(ONE, ONE)),
    upgraded("up-failed", post("/a.S/M", ONE[5:], PROTO), answer(trailers=b"grpc-status: 5\r\n"), status=503),
    upgraded("up-no-status", post("/a.S/M", ONE[5:], PROTO), answer(ONE, trailers=b"")),
    upgraded("up-head", post("/a.S/M", ONE[5:], PROTO), reply("200 OK", b"", GRPC, "grpc-status: 5")),
    upgraded("up-length", post("/a.S/M", ONE[5:], PROTO), reply("200 OK", ONE, GRPC), differs=WHOLE),
    upgraded("up-error", post("/a.S/M", ONE[5:], PROTO), reply("404 X", b"what is this"), status=404, differs=UNCUT),
    upgraded("up-gone", post("/a.S/M", ONE[5:], PROTO), (AwaitBody(), Close()), status=503),
    upgraded("up-no-route", post("/a.S/M", ONE[5:], PROTO), routes=[], status=404),
    upgraded("up-direct", post("/a.S/M", ONE[5:], PROTO), routes=[says("no and more", {"prefix": "/"})]),
    upgraded("up-grpc", post("/a.S/M", ONE, GRPC)),
    upgraded("up-h2", Stream((*H2, ("content-type", "application/x-protobuf")), ONE[5:]), h2=True, differs=FRAMED),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("grpc_http1_bridge")
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.id))
def test_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
