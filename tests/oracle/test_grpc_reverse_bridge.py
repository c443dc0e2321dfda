"""The grpc_http1_reverse_bridge filter: what an upstream without gRPC gets, and what the caller gets back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.bootstrap import TYPE, router
from tests.oracle.case import Case, Differs, Json, cluster, route, says, with_trailers
from tests.oracle.conftest import Pair
from tests.support.h2_downstream import Stream
from tests.support.upstream import Answer, AwaitBody, Close, raw, reply

NAME = "envoy.filters.http.grpc_http1_reverse_bridge"
PROTO = "content-type: application/x-protobuf"
SIZES = ("log.*bytes*", "log.*wire*")


def message(size: int) -> bytes:
    return b"\0" + size.to_bytes(4, "big") + b"x" * size


ONE, TWO = message(3), message(300)


def call(id: str, data: bytes | None, *answers: Answer, config: Json | None = None, **more: Any) -> Case:  # noqa: A002
    more.setdefault("routes", [route(cluster=f"c-{id}")])
    typed = {
        "@type": f"{TYPE}.filters.http.grpc_http1_reverse_bridge.v3.FilterConfig",
        "content_type": "application/x-protobuf",
        **(config or {}),
    }
    head = (
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "$HOST"),
        (":path", "/a.S/M"),
        ("te", "trailers"),
        ("content-type", more.pop("kind", "application/grpc+proto")),
        *more.pop("fields", ()),
    )
    return Case(
        id=id,
        h2=True,
        hcm={"http_filters": [{"name": NAME, "typed_config": typed}, router()]},
        clusters=[cluster(f"c-{id}", **with_trailers())],
        send=[Stream(head, data)],
        upstream=answers or [reply("200 OK", b"answer", PROTO)],
        status=more.pop("status", 200),
        ignore=(*SIZES, *more.pop("ignore", ())),
        **more,
    )


def bare(id: str, *args: Any, **more: Any) -> Case:  # noqa: A002
    return call(id, *args, config={"withhold_grpc_frames": True, **more.pop("config", {})}, **more)


CHUNKED = raw(
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
)
TRAILERS = raw(
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0\r\nt: 1\r\n\r\n"
)
SIZED = {"response_size_header": "x-size"}
OFF = {
    "typed_per_filter_config": {
        NAME: {
            "@type": f"{TYPE}.filters.http.grpc_http1_reverse_bridge.v3.FilterConfigPerRoute",
            "disabled": True,
        }
    }
}
PROTO_ONLY = {"name": "content-type", "string_match": {"exact": "application/x-protobuf"}}
ANCHOR = "grpc-http1-reverse-bridge"
GONE = Differs(ANCHOR, {"log.0.response_flags": '"UC"', "log.0.response_code": "200", "reply.0.start": "HTTP/2 200"})
NO_ROUTE = Differs(ANCHOR, {"log.0.response_code_details": '"route_not_found"', "reply.0.start": "HTTP/2 200"})
SHORT = Differs(ANCHOR, {"log.0.response_code_details": '"grpc_bridge_data_too_small"'})
CASES = [
    call("framed", ONE),
    call("framed-chunked", ONE, CHUNKED),
    call("framed-trailers", ONE, TRAILERS),
    call("framed-empty", ONE, reply("200 OK", b"", PROTO)),
    call("framed-status", ONE, reply("503 X", b"answer", PROTO)),
    call("framed-other-type", ONE, reply("200 OK", b"answer", "content-type: text/html")),
    call("framed-no-type", ONE, reply("418 X", b"answer")),
    call("framed-gone", ONE, (AwaitBody(), Close()), differs=GONE),
    call("framed-head", None),
    call("not-grpc", ONE, kind="text/plain"),
    call("no-route", ONE, routes=[], differs=NO_ROUTE),
    call("direct", ONE, routes=[says("no", {"prefix": "/"})], ignore=("log.0.request_duration",)),
    call(
        "rerouted",
        ONE,
        routes=[
            {**route(cluster="other"), "match": {"prefix": "/", "headers": [PROTO_ONLY]}},
            route(cluster="refused"),
        ],
    ),
    call("off", ONE, routes=[{**route(cluster="c-off"), **OFF}]),
    bare("bare", ONE),
    bare("bare-length", ONE, fields=(("content-length", "8"),)),
    bare("bare-chunked", ONE, CHUNKED),
    bare("bare-trailers", ONE, TRAILERS),
    bare("bare-empty", message(0)),
    bare("bare-empty-answer", ONE, reply("200 OK", b"", PROTO)),
    bare("bare-short", ONE[:4], differs=SHORT),
    bare("bare-status", ONE, reply("404 X", b"answer", PROTO)),
    bare("bare-other-type", ONE, reply("200 OK", b"answer")),
    bare("bare-sized", ONE, reply("200 OK", b"answer", PROTO, "x-size: 6"), config=SIZED),
    bare("bare-sized-not", ONE, reply("200 OK", b"answer", PROTO), config=SIZED),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("grpc_reverse_bridge")
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.id))
def test_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
