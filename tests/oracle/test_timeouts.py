"""Everything that takes too long, downstream and upstream. Times are short; only what happens is compared."""

from __future__ import annotations

import pytest

from tests.oracle.case import Case, cluster, get, in_turn, post, request, route
from tests.oracle.conftest import Pair
from tests.support.downstream import Wait
from tests.support.upstream import OK, AwaitBody, AwaitClose, Pause, Send, reply

SILENT = (AwaitBody(), AwaitClose())
SLOW = (AwaitBody(), Pause(0.3), Send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"))
STUCK = (AwaitBody(), Send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), AwaitClose())
INSIDE = {
    "use_remote_address": True,
    "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]},
}

ROUTE = [
    Case(
        id="route",
        routes=[route(timeout="0.2s")],
        send=[get("/")],
        upstream=[SILENT],
        status=504,
        flags="UT",
        details="response_timeout",
    ),
    Case(
        id="route-then-next",
        routes=[route("/slow", timeout="0.2s"), route()],
        send=in_turn(get("/slow"), get("/2")),
        upstream=[SILENT, OK],
        status=(504, 200),
    ),
    Case(
        id="route-post",
        routes=[route(timeout="0.2s")],
        send=[post("/", b"x")],
        upstream=[SILENT],
        status=504,
        flags="UT",
    ),
    Case(
        id="route-head",
        routes=[route(timeout="0.2s")],
        send=[request("HEAD", "/")],
        upstream=[SILENT],
        status=504,
        flags="UT",
    ),
    Case(
        id="route-in-body",
        routes=[route(timeout="0.2s")],
        send=[get("/")],
        upstream=[STUCK],
        status=200,
        flags="UT",
        closes=True,
    ),
    Case(id="route-in-time", routes=[route(timeout="2s")], send=[get("/")], upstream=[SLOW], status=200),
    Case(id="route-off", routes=[route(timeout="0s")], send=[get("/")], upstream=[SLOW], status=200),
    Case(
        id="route-body-not-counted",
        routes=[route(timeout="0.6s")],
        send=[request("POST", "/", "Content-Length: 4") + b"ab", Wait(0.8), b"cd"],
        methods=["POST"],
        status=200,
    ),
    Case(
        id="asked-by-header",
        hcm=INSIDE,
        routes=[route()],
        send=[get("/", "x-envoy-upstream-rq-timeout-ms: 150")],
        upstream=[SILENT],
        status=504,
        flags="UT",
    ),
    Case(
        id="asked-by-stranger",
        routes=[route(timeout="5s")],
        send=[get("/", "x-envoy-upstream-rq-timeout-ms: 50")],
        upstream=[SLOW],
        status=200,
    ),
    Case(
        id="alternative-status",
        hcm=INSIDE,
        routes=[route(timeout="0.15s")],
        send=[get("/", "x-envoy-upstream-rq-timeout-alt-response: 1")],
        upstream=[SILENT],
        status=204,
    ),
    Case(
        id="asked-off-by-header",
        hcm=INSIDE,
        routes=[route(timeout="0.15s")],
        send=[get("/", "x-envoy-upstream-rq-timeout-ms: 0")],
        upstream=[SLOW],
        status=200,
    ),
    Case(
        id="asked-garbage-by-header",
        hcm=INSIDE,
        routes=[route(timeout="2s")],
        send=[get("/", "x-envoy-upstream-rq-timeout-ms: soon")],
        upstream=[OK],
        status=200,
    ),
]

STREAM = [
    Case(
        id="route-idle",
        routes=[route(idle_timeout="0.2s", timeout="5s")],
        send=[get("/")],
        upstream=[SILENT],
        status=504,
        flags="SI",
    ),
    Case(
        id="route-idle-in-body",
        routes=[route(idle_timeout="0.2s", timeout="5s")],
        send=[get("/")],
        upstream=[STUCK],
        status=200,
        flags="SI",
        closes=True,
    ),
    Case(
        id="route-idle-request-body",
        routes=[route(idle_timeout="0.2s")],
        send=[request("POST", "/", "Content-Length: 4") + b"ab"],
        methods=["POST"],
        status=408,
        flags="SI",
        ignore=("upstream.0.complete",),
    ),
    Case(
        id="route-idle-kept-awake",
        routes=[route(idle_timeout="0.6s", timeout="5s")],
        send=[get("/")],
        upstream=[
            (
                AwaitBody(),
                Send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"),
                Pause(0.4),
                Send(b"a"),
                Pause(0.4),
                Send(b"b"),
                Pause(0.4),
                Send(b"c"),
            )
        ],
        status=200,
    ),
    Case(
        id="stream-idle",
        hcm={"stream_idle_timeout": "0.2s"},
        routes=[route(timeout="5s")],
        send=[get("/")],
        upstream=[SILENT],
        status=504,
        flags="SI",
    ),
    Case(
        id="stream-idle-request-body",
        hcm={"stream_idle_timeout": "0.2s"},
        send=[request("POST", "/", "Content-Length: 4") + b"ab"],
        methods=["POST"],
        status=408,
        flags="SI",
        ignore=("upstream.0.complete",),
    ),
    Case(
        id="request-timeout",
        hcm={"request_timeout": "0.2s"},
        send=[request("POST", "/", "Content-Length: 4") + b"ab"],
        methods=["POST"],
        status=408,
        ignore=("upstream.0.complete",),
    ),
    Case(id="request-timeout-in-time", hcm={"request_timeout": "0.2s"}, send=[get("/")], upstream=[SLOW], status=200),
    Case(
        id="request-headers-timeout",
        hcm={"request_headers_timeout": "0.2s"},
        send=[b"GET / HTTP/1.1\r\nHost: "],
        methods=["GET"],
        status=408,
    ),
    Case(
        id="request-headers-in-time",
        hcm={"request_headers_timeout": "1s"},
        send=[b"GET / HTTP/1.1\r\nHost: ", Wait(0.05), b"a\r\n\r\n"],
        methods=["GET"],
        status=200,
    ),
    Case(
        id="max-stream-duration",
        hcm={"common_http_protocol_options": {"max_stream_duration": "0.2s"}},
        send=[get("/")],
        upstream=[SILENT],
        status=504,
    ),
    Case(
        id="max-stream-duration-in-body",
        hcm={"common_http_protocol_options": {"max_stream_duration": "0.2s"}},
        send=[get("/")],
        upstream=[STUCK],
        status=200,
        closes=True,
    ),
    Case(
        id="max-stream-duration-of-route",
        routes=[route(max_stream_duration={"max_stream_duration": "0.2s"})],
        send=[get("/")],
        upstream=[SILENT],
        status=504,
    ),
    Case(
        id="max-stream-duration-off-by-route",
        hcm={"common_http_protocol_options": {"max_stream_duration": "0.15s"}},
        routes=[route(max_stream_duration={"max_stream_duration": "0s"})],
        send=[get("/")],
        upstream=[SLOW],
        status=200,
    ),
]

UPSTREAM_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def limited(name: str, **options: object) -> dict[str, object]:
    typed = {
        "@type": f"type.googleapis.com/{UPSTREAM_OPTIONS}",
        "common_http_protocol_options": options,
        "explicit_http_config": {"http_protocol_options": {}},
    }
    return cluster(name, typed_extension_protocol_options={UPSTREAM_OPTIONS: typed})


CONNECTION = [
    Case(
        id="idle-connection",
        hcm={"common_http_protocol_options": {"idle_timeout": "0.2s"}, "drain_timeout": "0.1s"},
        send=[get("/")],
        status=200,
        closes=True,
    ),
    Case(
        id="idle-connection-without-request",
        hcm={"common_http_protocol_options": {"idle_timeout": "0.2s"}},
        send=[],
        methods=["GET"],
        replies=0,
        logs=0,
        status=(),
        closes=True,
    ),
    Case(
        id="max-connection-duration",
        hcm={"common_http_protocol_options": {"max_connection_duration": "0.2s"}, "drain_timeout": "0.1s"},
        send=[get("/1"), Wait(0.4)],
        methods=["GET"],
        status=200,
        closes=True,
    ),
    Case(
        id="max-requests-of-connection",
        hcm={"common_http_protocol_options": {"max_requests_per_connection": 2}},
        send=in_turn(get("/1"), get("/2")),
        status=(200, 200),
    ),
    Case(
        id="upstream-idle",
        clusters=[limited("idle", idle_timeout="0.1s")],
        routes=[route(cluster="idle")],
        send=[get("/1"), Wait(0.3), get("/2")],
        status=(200, 200),
    ),
    Case(
        id="upstream-max-stream-duration",
        clusters=[limited("short", max_stream_duration="0.2s")],
        routes=[route(cluster="short")],
        send=[get("/")],
        upstream=[SILENT],
        status=504,
    ),
]

PER_TRY = [
    Case(
        id="per-try-without-retry",
        routes=[route(retry_policy={"per_try_timeout": "0.15s"})],
        send=[get("/")],
        upstream=[SILENT],
        status=504,
    ),
    Case(
        id="per-try-in-body",
        routes=[route(retry_policy={"per_try_timeout": "0.15s"}, timeout="0.4s")],
        send=[get("/")],
        upstream=[STUCK],
        status=200,
        closes=True,
    ),
    Case(
        id="per-try-of-virtual-host",
        routes=[route("/own", retry_policy={"retry_on": "retriable-4xx"}), route()],
        vhost={"retry_policy": {"per_try_timeout": "0.15s"}},
        send=in_turn(get("/own"), get("/")),
        upstream=[SLOW, SILENT],
        status=(200, 504),
    ),
    Case(
        id="per-try-no-less-than-all",
        routes=[route(retry_policy={"per_try_timeout": "0.2s"}, timeout="0.2s")],
        send=[get("/")],
        upstream=[SILENT],
        status=504,
    ),
    Case(
        id="per-try-by-header",
        hcm=INSIDE,
        routes=[route(retry_policy={"per_try_timeout": "5s"})],
        send=[get("/", "x-envoy-upstream-rq-per-try-timeout-ms: 150")],
        upstream=[SILENT],
        status=504,
    ),
    Case(
        id="per-try-off-by-header",
        hcm=INSIDE,
        routes=[route(retry_policy={"per_try_timeout": "0.1s"})],
        send=[get("/", "x-envoy-upstream-rq-per-try-timeout-ms: 0")],
        upstream=[SLOW],
        status=200,
    ),
    Case(
        id="per-try-with-body",
        routes=[route(retry_policy={"per_try_timeout": "0.15s"})],
        send=[post("/", b"hello")],
        upstream=[SILENT],
        status=504,
    ),
    Case(
        id="per-try-beside-new-timeouts",
        routes=[
            route(retry_policy={"per_try_timeout": "0.15s"}, max_stream_duration={"max_stream_duration": "2s"}),
        ],
        send=[get("/")],
        upstream=[SILENT],
        status=504,
    ),
    Case(
        id="no-route-timeout-beside-new-timeouts",
        routes=[route(timeout="0.1s", max_stream_duration={"max_stream_duration": "2s"})],
        send=[get("/")],
        upstream=[SLOW],
        status=200,
    ),
    Case(
        id="per-try-and-timeout-by-header",
        hcm=INSIDE,
        send=[get("/", "x-envoy-upstream-rq-timeout-ms: 300", "x-envoy-upstream-rq-per-try-timeout-ms: 150")],
        upstream=[SILENT],
        status=504,
        flags="UT",
    ),
    Case(
        id="header-timeout-beside-new-timeouts",
        hcm=INSIDE,
        routes=[route(max_stream_duration={"max_stream_duration": "2s"})],
        send=[get("/", "x-envoy-upstream-rq-timeout-ms: 150")],
        upstream=[SILENT],
        status=504,
    ),
    Case(
        id="new-timeouts-for-grpc-only",
        routes=[route(timeout="0.1s", max_stream_duration={"grpc_timeout_header_max": "2s"})],
        send=[get("/")],
        upstream=[SLOW],
        status=200,
    ),
    Case(
        id="delayed-answer-relayed",
        send=[get("/")],
        upstream=[(AwaitBody(), Pause(0.1), *reply("200 OK", b"late")[1:])],
        status=200,
    ),
]

CASES = ROUTE + STREAM + CONNECTION + PER_TRY


@pytest.mark.oracle
@pytest.mark.xdist_group("timeouts")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
