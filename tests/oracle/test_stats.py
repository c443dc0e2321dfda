"""What both have counted after the same traffic: every statistic that Envoy used has the same value in pyproxy."""

from __future__ import annotations

import pytest

from tests.oracle.case import Case, chunked, cluster, get, in_turn, post, route
from tests.oracle.conftest import RECORD, Pair
from tests.support.downstream import Abort, Wait
from tests.support.upstream import OK, AwaitBody, AwaitClose, Close, Pause, Send, raw, reply

SILENT = (AwaitBody(), AwaitClose())
CASES = [
    Case(
        id="statuses",
        routes=[route(name="r")],
        send=in_turn(get("/"), get("/"), get("/"), post("/", b"x"), chunked("/", b"y")),
        upstream=[OK, reply("404 X", b""), reply("503 X", b""), reply("302 X", b""), OK],
        status=(200, 404, 503, 302, 200),
    ),
    Case(id="refused", routes=[route(cluster="refused")], send=[get("/")], status=503),
    Case(id="empty", routes=[route(cluster="empty")], send=[get("/")], status=503),
    Case(id="no-route", routes=[], send=[get("/")], status=404),
    Case(
        id="no-cluster",
        routes=[{"match": {"prefix": "/"}, "route": {"cluster_header": "x-c"}}],
        send=[get("/")],
        status=503,
    ),
    Case(
        id="redirect-and-direct",
        routes=[
            {"match": {"prefix": "/r"}, "redirect": {"path_redirect": "/"}},
            {"match": {"prefix": "/"}, "direct_response": {"status": 200}},
        ],
        send=in_turn(get("/r"), get("/d")),
        status=(301, 200),
    ),
    Case(id="timed-out", routes=[route(timeout="0.1s")], send=[get("/")], upstream=[SILENT], status=504),
    Case(id="idle", routes=[route(idle_timeout="0.1s")], send=[get("/")], upstream=[SILENT], status=504),
    Case(id="gone", send=[get("/")], upstream=[(AwaitBody(), Close())], status=503),
    Case(
        id="cut-short",
        send=[get("/")],
        upstream=[(AwaitBody(), Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"), Pause(0.03), Close())],
        status=200,
        closes=True,
    ),
    Case(id="nonsense", send=[get("/")], upstream=[raw(b"nonsense\r\n\r\n")], status=502),
    Case(id="bad-request", send=[b"GET / HTTP/1.1\r\nbad name: 1\r\n\r\n"], status=400),
    Case(id="old-request", send=[b"GET / HTTP/1.0\r\n\r\n"], status=426),
    Case(
        id="left",
        send=[get("/"), Wait(0.05), Abort()],
        upstream=[SILENT],
        status=(),
        replies=0,
        logs=1,
        ignore=("end",),
    ),
    Case(
        id="overflow",
        clusters=[cluster("full", circuit_breakers={"thresholds": [{"max_requests": 0}]})],
        routes=[route(cluster="full")],
        send=[get("/")],
        status=503,
    ),
    Case(
        id="short-lived",
        clusters=[cluster("short", max_requests_per_connection=1)],
        routes=[route(cluster="short")],
        send=in_turn(get("/"), get("/")),
        status=(200, 200),
    ),
    Case(
        id="internal",
        hcm={
            "use_remote_address": True,
            "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]},
        },
        send=[get("/")],
        status=200,
    ),
    Case(
        id="named",
        routes=[
            {**route("/r", cluster="refused"), "stat_prefix": "r"},
            {**route("/e", cluster="empty"), "stat_prefix": "e"},
            {**route("/t", timeout="0.1s"), "stat_prefix": "t"},
            {**route("/", retry_policy={"retry_on": "5xx", "num_retries": 1}), "stat_prefix": "all"},
        ],
        vhost={
            "virtual_clusters": [
                {"name": "v", "headers": [{"name": ":path", "string_match": {"prefix": "/v"}}]},
                {"name": "r", "headers": [{"name": ":path", "string_match": {"prefix": "/r"}}]},
            ]
        },
        send=in_turn(get("/v"), get("/"), get("/v"), get("/r"), get("/e"), get("/t")),
        upstream=[OK, reply("503 X", b""), OK, reply("503 X", b""), reply("500 X", b""), SILENT],
        status=(200, 200, 500, 503, 503, 504),
    ),
]

# Not about the traffic: the admin's own requests, threads, transport sockets that were
# matched, a cluster that nothing used (pyproxy makes a cluster when it is first used), and the connection that Envoy
# opens for a request before it looks whether the request may be sent.
NOT_COMPARED = (
    "admin",
    "downstream_cx_tx_bytes_total",  # with the digits of x-envoy-upstream-service-time
    "workers_",
    "buffered",
    "worker_0",
    "total_match",
    "cluster.other.",
    "cluster.full.upstream_cx",
    "cluster.full.upstream_rq_pending",
    # Who closed: a downstream that waits for the end of a connection sees it at once here, and closes too. Envoy lets
    # it wait for the delayed close (docs/differences.md, "The end of a connection").
    "downstream_cx_delayed_close_timeout",
    "downstream_cx_destroy_local",
    "downstream_cx_destroy_remote",
)
# Those that left in the middle of a request are compared all the same.
COMPARED = ("downstream_cx_destroy_remote_active_rq", "downstream_cx_destroy_local_active_rq")


@pytest.fixture(scope="module")
def counted(pair: Pair) -> tuple[dict[str, str], dict[str, str]]:
    """Play every case once, then ask both."""
    for case in CASES:
        pair.play(case)
    return pair.stats()


@pytest.mark.oracle
@pytest.mark.xdist_group("stats")
@pytest.mark.skipif(RECORD is not None, reason="only Envoy runs when its behaviour is recorded")
@pytest.mark.parametrize("scope", ["http", "cluster", "listener", "vhost"])
def test_counts_as_envoy(scope: str, counted: tuple[dict[str, str], dict[str, str]]) -> None:
    """Absent and zero are the same: Envoy shows a gauge that has gone back to zero, pyproxy need not."""
    envoy, pyproxy = (
        {
            name: value
            for name, value in stats.items()
            if name.startswith(f"{scope}.")
            and not value.startswith(("P0(", "No recorded"))  # of times, and only of the intervals that are over
            and (name.endswith(COMPARED) or not any(part in name for part in NOT_COMPARED))
        }
        for stats in counted
    )
    assert envoy, "Envoy shows no statistics of this scope"
    wrong = [
        f"{name}: envoy {value}, pyproxy {pyproxy.get(name, '0')}"
        for name, value in envoy.items()
        if pyproxy.get(name, "0") != value
    ]
    assert not wrong, f"{len(wrong)} of {len(envoy)} differ\n" + "\n".join(wrong)
