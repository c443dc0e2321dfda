"""Upstreams that refuse, break off, answer nonsense, are too many or not there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.case import (
    FULL,
    OTHER,
    UP,
    Case,
    Differs,
    Json,
    address,
    chunked,
    cluster,
    get,
    in_turn,
    post,
    request,
    route,
)
from tests.oracle.conftest import Pair
from tests.support.downstream import AwaitReply
from tests.support.upstream import OK, Answer, AwaitBody, Close, Pause, Reset, Send, raw, reply

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


# How far a parser has got in a bad head when it stops differs between parsers.
HALF_READ = ("log.0.upstream_header_bytes_received",)


def before(
    id: str,  # noqa: A002
    answer: Answer,
    status: int,
    flags: str,
    send: bytes = get("/"),
    ignore: tuple[str, ...] = HALF_READ,
) -> Case:
    """The upstream fails before a whole head has come; the next request must find a good connection."""
    return Case(
        id=id,
        send=[send, AwaitReply(), get("/next")],
        upstream=[answer, OK],
        status=(status, 200),
        flags=flags,
        ignore=ignore,
    )


def bad_reply(id: str, data: bytes, ignore: tuple[str, ...] = HALF_READ) -> Case:  # noqa: A002
    return before(f"reply-{id}", raw(data), 502, "UPE", ignore=ignore)


def after(id: str, *answer: Send | Pause | Close | Reset, flags: str = "UPE", status: int = 200) -> Case:  # noqa: A002
    """The upstream fails when the head of the response is already on its way."""
    return Case(
        id=id,
        send=[get("/")],
        upstream=[(AwaitBody(), *answer)],
        status=status,
        flags=flags,
        closes=True,
    )


def breaker(name: str, **thresholds: int) -> Json:
    return cluster(name, circuit_breakers={"thresholds": [thresholds]})


def named(name: str, discovery: str) -> Json:
    """A cluster whose host is `localhost`."""
    made = cluster(name, type=discovery, dns_lookup_family="V4_ONLY")
    endpoint = made["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["address"]["socket_address"]["address"] = "localhost"
    return made


REFUSED_REPLY = {
    "reply.0.start": "HTTP/1.1 502 Bad Gateway",
    "reply.0.body": "upstream connect error or disconnect/reset before headers. reset reason: protocol error",
    "log.0.response_flags": '"UPE"',
}
SLOW = (AwaitBody(), Pause(0.4), Send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"))

CONNECTS = [
    Case(id="refused", routes=[route(cluster="refused")], send=[get("/")], status=503, flags="UF"),
    Case(
        id="refused-keeps-connection",
        routes=[route("/r", "refused"), route()],
        send=in_turn(get("/r"), get("/ok"), get("/r")),
        status=(503, 200, 503),
    ),
    Case(id="refused-head", routes=[route(cluster="refused")], send=[request("HEAD", "/")], status=503, flags="UF"),
    Case(id="refused-post", routes=[route(cluster="refused")], send=[chunked("/", b"x")], status=503, flags="UF"),
    Case(id="no-host", routes=[route(cluster="empty")], send=[get("/")], status=503, flags="UH"),
    Case(id="no-host-head", routes=[route(cluster="empty")], send=[request("HEAD", "/")], status=503, flags="UH"),
    Case(
        id="connect-times-out",
        clusters=[{**cluster("blackhole", FULL), "connect_timeout": "0.2s"}],
        routes=[route(cluster="blackhole")],
        send=[get("/")],
        status=503,
        flags="UF",
    ),
    Case(
        id="strict-dns-of-localhost",
        clusters=[named("by-name", "STRICT_DNS")],
        routes=[route(cluster="by-name")],
        send=[get("/")],
        status=200,
    ),
    Case(
        id="logical-dns-of-localhost",
        clusters=[named("logical", "LOGICAL_DNS")],
        routes=[route(cluster="logical")],
        send=[get("/")],
        status=200,
    ),
]

BEFORE = [
    before("closed-at-once", (AwaitBody(), Close()), 503, "UC"),
    before("reset-at-once", (AwaitBody(), Reset()), 503, "UC"),
    before("closed-post", (AwaitBody(), Close()), 503, "UC", post("/", b"hello")),
    before("closed-in-head", (AwaitBody(), Send(b"HTTP/1.1 200 OK\r\ncontent-le"), Pause(0.02), Close()), 502, "UPE"),
    before("closed-after-100", (AwaitBody(), Send(b"HTTP/1.1 100 Continue\r\n\r\n"), Pause(0.02), Close()), 503, "UC"),
    Case(
        id="reset-on-reused-connection",
        send=in_turn(get("/1"), get("/2")),
        upstream=[OK, (AwaitBody(), Close()), OK],
        status=(200, 503),
        differs=Differs("keep-alive-race", {"reply.1.start": "HTTP/1.1 200 OK", "upstream.count": "3"}),
    ),
    Case(
        id="reset-of-a-post-on-reused-connection",
        send=in_turn(get("/1"), post("/2", b"x")),
        upstream=[OK, (AwaitBody(), Reset()), OK],
        status=(200, 503),
    ),
]

REPLIES = [
    bad_reply("garbage", b"nonsense\r\n\r\n"),
    bad_reply("no-version", b"200 OK\r\n\r\n"),
    bad_reply("letters-in-status", b"HTTP/1.1 abc OK\r\n\r\n"),
    bad_reply("bad-header-name", b"HTTP/1.1 200 OK\r\nbad name: 1\r\ncontent-length: 0\r\n\r\n"),
    bad_reply("nul-in-value", b"HTTP/1.1 200 OK\r\nx: a\x00b\r\ncontent-length: 0\r\n\r\n"),
    bad_reply(
        "length-and-chunked", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    bad_reply("two-lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello"),
    bad_reply("two-lengths-same", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello"),
    bad_reply("bad-length", b"HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello"),
    bad_reply("unknown-encoding", b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nhello"),
    bad_reply("204-with-body", b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello"),
    bad_reply("too-many-headers", b"HTTP/1.1 200 OK\r\n" + b"".join(b"x%d: 1\r\n" % n for n in range(101)) + b"\r\n"),
    bad_reply(
        "headers-too-large",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 90_000 + b"\r\n\r\n",
        (*HALF_READ, "log.0.upstream_wire_bytes_received"),  # how much of it had come when it was too much
    ),
]

LENIENT = [
    Case(id="reply-status-99", send=[get("/")], upstream=[reply("99 Low", b"ok")], status=502, ignore=HALF_READ),
    Case(
        id="reply-status-1000",
        send=[get("/")],
        upstream=[reply("1000 High", b"ok")],
        status=1000,
        differs=Differs("upstream-status", REFUSED_REPLY),
    ),
    Case(
        id="reply-101-unasked",
        send=[get("/")],
        upstream=[raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nraw")],
        status=101,
        differs=Differs("upstream-status", REFUSED_REPLY),
    ),
    Case(
        id="reply-http2",
        send=in_turn(get("/"), get("/next")),
        upstream=[raw(b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n"), OK],
        status=(200, 200),
        differs=Differs("upstream-heads", REFUSED_REPLY),
    ),
    Case(
        id="reply-folded",
        send=[get("/")],
        upstream=[raw(b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n")],
        status=200,
        differs=Differs("upstream-heads", REFUSED_REPLY),
    ),
    Case(
        id="reply-bare-lf",
        send=[get("/")],
        upstream=[raw(b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok")],
        status=200,
        differs=Differs("upstream-heads", REFUSED_REPLY),
    ),
]

AFTER = [
    after("length-cut-short", Send(HEAD + b"abc"), Pause(0.05), Close()),
    after("length-cut-short-by-reset", Send(HEAD + b"abc"), Pause(0.05), Reset()),
    after("chunked-cut-short", Send(CHUNKED + b"3\r\nabc\r\n"), Pause(0.05), Close()),
    after("chunked-cut-in-chunk", Send(CHUNKED + b"9\r\nabc"), Pause(0.05), Close()),
    after("chunked-garbage", Send(CHUNKED + b"3\r\nabc\r\n"), Pause(0.05), Send(b"zz\r\n")),
    Case(
        id="more-than-length",
        send=in_turn(get("/1"), get("/2")),
        upstream=[raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokMORE"), OK],
        status=(200, 200),
    ),
]


def two_hosts(name: str, *weights: int, **fields: Any) -> Json:
    """A cluster with both upstreams as hosts."""
    made = cluster(name, **fields)
    hosts = [{"endpoint": {"address": address(port)}} for port in (UP, OTHER)]
    for host, weight in zip(hosts, weights, strict=False):
        host["load_balancing_weight"] = weight  # type: ignore[assignment]
    made["load_assignment"]["endpoints"][0]["lb_endpoints"] = hosts
    return made


# Which of the hosts is first is chance.
CHOICE = ("log.*.upstream*", "log.*.stream_id")
BALANCING = [
    Case(
        id="round-robin",
        clusters=[two_hosts("turns")],
        routes=[route(cluster="turns")],
        send=in_turn(*[get("/")] * 6),
        status=(200,) * 6,
        ignore=CHOICE,
    ),
    Case(
        id="round-robin-weights",
        clusters=[two_hosts("weighted-turns", 3, 1)],
        routes=[route(cluster="weighted-turns")],
        send=in_turn(*[get("/")] * 8),
        status=(200,) * 8,
        ignore=CHOICE,
    ),
]

OVERFLOWS = [
    Case(
        id="overflow-requests",
        clusters=[breaker("one-request", max_requests=1)],
        routes=[route(cluster="one-request")],
        behind=get("/slow"),
        send=[get("/")],
        upstream=[SLOW, OK],
        status=503,
        flags="UO",
    ),
    Case(
        id="overflow-pending",
        clusters=[breaker("one-connection", max_connections=1, max_pending_requests=0)],
        routes=[route(cluster="one-connection")],
        send=[get("/")],
        upstream=[SLOW, OK],
        status=503,
        flags="UO",
    ),
    Case(
        id="waiting-for-the-only-connection",
        clusters=[breaker("one-at-a-time", max_connections=1)],
        routes=[route(cluster="one-at-a-time")],
        behind=get("/slow"),
        send=[get("/")],
        upstream=[SLOW, OK],
        status=200,
    ),
    Case(
        id="waiting-for-the-only-connection-of-a-host",
        clusters=[
            cluster("one-each", circuit_breakers={"per_host_thresholds": [{"max_connections": 1}]}),
        ],
        routes=[route(cluster="one-each")],
        behind=get("/slow"),
        send=[get("/")],
        upstream=[SLOW, OK],
        status=200,
    ),
    Case(
        id="overflow-head",
        clusters=[breaker("no-request", max_requests=0)],
        routes=[route(cluster="no-request")],
        send=in_turn(request("HEAD", "/"), get("/")),
        status=(503, 503),
        flags="UO",
    ),
    Case(
        id="one-request-per-connection",
        clusters=[cluster("short-lived", max_requests_per_connection=1)],
        routes=[route(cluster="short-lived")],
        send=in_turn(get("/1"), get("/2")),
        status=(200, 200),
    ),
    Case(
        id="two-requests-per-connection",
        clusters=[
            cluster(
                "short-lived-2",
                typed_extension_protocol_options={
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "common_http_protocol_options": {"max_requests_per_connection": 2},
                        "explicit_http_config": {"http_protocol_options": {}},
                    }
                },
            )
        ],
        routes=[route(cluster="short-lived-2")],
        send=in_turn(get("/1"), get("/2"), get("/3")),
        status=(200, 200, 200),
    ),
    Case(
        id="max-response-headers",
        clusters=[
            cluster(
                "few-headers",
                typed_extension_protocol_options={
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "common_http_protocol_options": {"max_headers_count": 2},
                        "explicit_http_config": {"http_protocol_options": {}},
                    }
                },
            )
        ],
        routes=[route(cluster="few-headers")],
        send=[get("/")],
        upstream=[reply("200 OK", b"ok", "a: 1", "b: 2", "c: 3")],
        status=502,
        flags="UPE",
        ignore=HALF_READ,
    ),
]

CASES = CONNECTS + BEFORE + REPLIES + LENIENT + AFTER + BALANCING + OVERFLOWS


@pytest.mark.oracle
@pytest.mark.xdist_group("upstream_faults")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
