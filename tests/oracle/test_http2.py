"""Requests that come by HTTP/2, for upstreams that speak HTTP/1, and answers of the proxies themselves."""

from __future__ import annotations

import pytest

from tests.oracle.case import Case, Json, chunked, get, in_turn, post, request, route, says
from tests.oracle.conftest import Pair
from tests.support.h2_downstream import Stream
from tests.support.upstream import AwaitBody, Close, Reset, Send, raw, reply

H = (":authority", "$HOST")
GET = ((":method", "GET"), (":scheme", "http"), H, (":path", "/"))
POST = ((":method", "POST"), *GET[1:])
GRPC = (*POST[:3], (":path", "/s/m"), ("content-type", "application/grpc"), ("te", "trailers"))
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
MESH: Json = {"http2_protocol_options": {"override_stream_error_on_invalid_http_message": True}}
# Bytes on the wire are compressed, each proxy in its own way, and sizes of header fields follow from that.
SIZES = ("log.*bytes*", "log.*wire*")
# Whether a refusal comes before the end of the request is chance.
UNFINISHED = ("log.*.request_duration",)


def case(
    id: str,  # noqa: A002
    *send: object,
    status: int | tuple[int, ...] = 200,
    ignore: tuple[str, ...] = (),
    **more: object,
) -> Case:
    return Case(id=id, h2=True, send=send, status=status, ignore=(*SIZES, *ignore), **more)  # type: ignore[arg-type]


CASES = [
    case("get", get("/a?b=c", "X-One: 1", "X-Two: 2")),
    case("head", request("HEAD", "/")),
    case("post", post("/", b"hello")),
    case("no-length", Stream(POST, b"hello")),
    case("empty-body", Stream(POST, b"")),
    case("large", post("/", b"x" * 60_000)),
    case("large-answer", get("/"), upstream=[reply("200 OK", b"y" * 300_000)]),
    case("three", *in_turn(get("/1"), post("/2", b"x"), get("/3")), status=(200, 200, 200)),
    case("chunked-answer", get("/"), upstream=[raw(CHUNKED)]),
    case("until-close", get("/"), upstream=[(AwaitBody(), Send(b"HTTP/1.1 200 OK\r\n\r\nabc"), Close())]),
    case("no-content", get("/"), upstream=[raw(b"HTTP/1.1 204 No Content\r\n\r\n")], status=204),
    case("not-modified", get("/"), upstream=[raw(b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n")], status=304),
    case("hop-by-hop-answer", get("/"), upstream=[reply("200 OK", b"a", "connection: x-a", "x-a: 1", "keep-alive: 1")]),
    case("upper-case-answer", get("/"), upstream=[reply("200 OK", b"a", "X-Upper: Yes")]),
    case("cookies", Stream((*GET, ("cookie", "a=1"), ("cookie", "b=2"), ("x", "1")))),
    case("host-too", Stream((*GET, ("host", "other.test")))),
    case("te", Stream((*GET, ("te", "trailers")))),
    case("repeated", Stream((*GET, ("x", "1"), ("x", "2"), ("accept", "a"), ("accept", "b")))),
    case("trailers-dropped", chunked("/", b"abc", trailers=b"t: 1\r\n")),
    case("expect", Stream((*POST, ("expect", "100-continue"), ("content-length", "3")), b"abc")),
    case("custom-method", request("FOOBAR", "/")),
    case("options", request("OPTIONS", "/x")),
    case("asterisk", Stream(((":method", "OPTIONS"), *GET[1:3], (":path", "*"))), status=404),
    case("https", Stream((GET[0], (":scheme", "https"), *GET[2:]))),
    case("utf-8", Stream((*GET, ("x", "\xe4\xff")))),
    case("long-header", get("/", "X: " + "a" * 20_000)),
    # Answers of the proxies
    case("no-route", get("/"), routes=[route("/other")], status=404, flags="NR"),
    case("direct", get("/"), routes=[says("hi", {"prefix": "/"})]),
    case("direct-post", post("/", b"abc"), routes=[says("hi", {"prefix": "/"})]),
    case("redirect", get("/"), routes=[{"match": {"prefix": "/"}, "redirect": {"path_redirect": "/n"}}], status=301),
    case("no-host", get("/"), routes=[route(cluster="empty")], status=503, flags="UH"),
    case("refused", get("/"), routes=[route(cluster="refused")], status=503, flags="UF"),
    case("upstream-closes", get("/"), upstream=[(AwaitBody(), Close())], status=503, flags="UC"),
    case("upstream-resets", get("/"), upstream=[(AwaitBody(), Reset())], status=503),
    case("upstream-talks-rubbish", get("/"), upstream=[raw(b"rubbish\r\n\r\n")], status=502),
    case("timeout", get("/"), routes=[route(timeout="0.2s")], upstream=[(AwaitBody(),)], status=504, flags="UT"),
    case("fragment", Stream((*GET[:3], (":path", "/a#b"))), status=400),
    # gRPC
    case("grpc", Stream(GRPC, b"\0\0\0\0\1x")),
    case("grpc-no-route", Stream(GRPC, b"x"), routes=[route("/other")]),
    case("grpc-no-host", Stream(GRPC, b"x"), routes=[route(cluster="empty")]),
    case("grpc-refused", Stream(GRPC, b"x"), routes=[route(cluster="refused")], ignore=UNFINISHED),
    case("grpc-direct", Stream(GRPC, b"x"), routes=[says("caf\xe9 100%", {"prefix": "/"})]),
    case("grpc-denied", Stream(GRPC, b"x"), routes=[{"match": {"prefix": "/"}, "direct_response": {"status": 403}}]),
    case("grpc-redirect", Stream(GRPC, b"x"), routes=[{"match": {"prefix": "/"}, "redirect": {"path_redirect": "/n"}}]),
    case("grpc-timeout", Stream(GRPC, b"x"), routes=[route(timeout="0.2s")], upstream=[(AwaitBody(),)]),
    case(
        "grpc-deadline", Stream((*GRPC, ("grpc-timeout", "200m")), b"x"), upstream=[(AwaitBody(),)],
        routes=[route(max_stream_duration={"grpc_timeout_header_max": "0s"})],
    ),
    case(
        "grpc-deadline-capped", Stream((*GRPC, ("grpc-timeout", "20S")), b"x"), upstream=[(AwaitBody(),)],
        routes=[route(max_stream_duration={"grpc_timeout_header_max": "0.2s"})],
    ),
    case("grpc-by-http1-status", Stream(GRPC, b"x"), upstream=[reply("503 X", b"no")], status=503),
    # Malformed
    *(
        case(f"malformed-{name}", Stream(fields), hcm=MESH, status=0, logs=1)
        for name, fields in {
            "upper-case": (*GET, ("X", "1")),
            "connection": (*GET, ("connection", "close")),
            "te": (*GET, ("te", "gzip")),
            "newline": (*GET, ("x", "a\nb")),
            "no-path": GET[:3],
            "two-paths": (*GET, (":path", "/b")),
            "path": (*GET[:3], (":path", "a")),
            "late-pseudo": (*GET[:3], ("x", "1"), GET[3]),
            "too-many": (*GET, *(("x", "1") for _ in range(101))),
            "too-large": (*GET, ("x", "1" * 62_000)),
        }.items()
    ),
]  # fmt: skip


@pytest.mark.oracle
@pytest.mark.xdist_group("http2")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_as_envoy(pair: Pair, case: Case) -> None:
    pair.check(case)
