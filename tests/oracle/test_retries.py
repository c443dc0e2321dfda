"""When a request is tried again, with what headers, and what is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.case import OTHER, UP, Case, Json, address, chunked, cluster, get, in_turn, post, request, route
from tests.oracle.conftest import RECORD, Pair
from tests.support.upstream import OK, Answer, AwaitBody, AwaitClose, Close, Pause, Reset, Send, raw, reply

SILENT = (AwaitBody(), AwaitClose())
GONE = (AwaitBody(), Close())
INSIDE = {
    "use_remote_address": True,
    "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]},
}
TOLD = {"include_request_attempt_count": True, "include_attempt_count_in_response": True}
PREVIOUS: Json = {
    "name": "envoy.retry_host_predicates.previous_hosts",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    },
}

# Envoy gives up the connection whose answer it does not pass on, where the rest of that answer was not looked at yet.
KEPT = ("upstream.*.to",)


def tried(name: str, on: str, *answers: Answer, status: int = 200, send: Any = None, **policy: Any) -> Case:
    """One request under a policy; the upstream gives one answer after the other."""
    flags = policy.pop("flags", None)
    hcm = policy.pop("hcm", {})
    return Case(
        id=name,
        routes=[route(retry_policy={"retry_on": on, **policy}, timeout="0s")],
        vhost=TOLD,
        hcm=hcm,
        send=send if send is not None else [get("/")],
        upstream=answers,
        status=status,
        flags=flags,
        ignore=KEPT,
    )


def asking(name: str, headers: list[str], *answers: Answer, status: int = 200, **policy: Any) -> Case:
    """The request itself asks."""
    return Case(
        id=name,
        routes=[route(retry_policy=policy, timeout="0s") if policy else route(timeout="0s")],
        vhost=TOLD,
        hcm=INSIDE,
        send=[get("/", *headers)],
        upstream=answers,
        status=status,
        ignore=KEPT,
    )


def status(code: int, *headers: str) -> Answer:
    return reply(f"{code} X", b"no", *headers)


RESPONSES = [
    tried("5xx", "5xx", status(500), OK),
    tried("5xx-not-404", "5xx", status(404), OK, status=404),
    tried("5xx-not-600", "5xx", status(600), OK, status=600),
    tried("5xx-twice", "5xx", status(503), status(502), OK, num_retries=2),
    tried("5xx-limit", "5xx", status(503), status(502), OK, status=502, flags="URX"),
    tried("5xx-none", "5xx", status(503), OK, num_retries=0, status=503, flags="URX"),
    tried("5xx-overloaded", "5xx", status(503, "x-envoy-overloaded: true"), OK),
    tried("gateway-error", "gateway-error", status(504), OK),
    tried("gateway-error-not-500", "gateway-error", status(500), OK, status=500),
    tried("retriable-4xx", "retriable-4xx", status(409), OK),
    tried("retriable-4xx-not-408", "retriable-4xx", status(408), OK, status=408),
    tried("statuses", "retriable-status-codes", status(418), OK, retriable_status_codes=[418, 429]),
    tried("statuses-without-word", "5xx", status(418), OK, retriable_status_codes=[418], status=418),
    tried("headers", "retriable-headers", status(200, "x-again: yes"), OK, retriable_headers=[{"name": "X-Again"}]),
    tried(
        "headers-status",
        "retriable-headers",
        status(429),
        OK,
        retriable_headers=[{"name": ":status", "string_match": {"exact": "429"}}],
    ),
    tried("rate-limited", "5xx", status(503, "x-envoy-ratelimited: true"), OK, status=503),
    tried("rate-limited-asked", "envoy-ratelimited", status(429, "x-envoy-ratelimited: true"), OK),
    tried("grpc", "unavailable,cancelled", status(200, "content-type: application/grpc", "grpc-status: 14"), OK),
    tried("grpc-other", "unavailable", status(200, "content-type: application/grpc", "grpc-status: 13"), OK),
    tried("grpc-internal", "internal", status(200, "grpc-status: 13"), OK),
    tried("grpc-exhausted", "resource-exhausted", status(200, "grpc-status: 8"), OK),
    tried("grpc-deadline", "deadline-exceeded", status(200, "grpc-status: 4"), OK),
    tried("unknown-words", "nonsense, 5xx ,, more", status(500), OK),
    tried("only-unknown-words", "nonsense", status(500), OK, status=500),
    tried("head", "5xx", status(500), reply("200 OK", b""), send=[request("HEAD", "/")]),
    tried("post", "5xx", status(500), OK, send=[post("/", b"hello")]),
    tried("post-chunked", "5xx", status(500), OK, send=[chunked("/", b"hello", b"there")]),
    tried("long-answer", "5xx", raw(b"HTTP/1.1 503 X\r\ncontent-length: 9\r\n\r\nabc"), OK),
    tried(
        "request-headers",
        "5xx",
        status(500),
        OK,
        send=[get("/", "x-safe: 1")],
        retriable_request_headers=[{"name": "x-safe"}],
    ),
    tried("request-headers-absent", "5xx", status(500), OK, retriable_request_headers=[{"name": "x-safe"}], status=500),
    tried(
        "early-answer-to-post",
        "5xx",
        (Send(b"HTTP/1.1 503 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"), AwaitBody()),
        OK,
        send=[post("/", b"hello")],
    ),
    Case(
        id="vhost-policy",
        routes=[route(timeout="0s")],
        vhost={**TOLD, "retry_policy": {"retry_on": "5xx"}},
        send=[get("/")],
        upstream=[status(500), OK],
        status=200,
        ignore=KEPT,
    ),
    Case(
        id="route-policy-replaces-vhost-policy",
        routes=[route(retry_policy={"retry_on": "reset"})],
        vhost={**TOLD, "retry_policy": {"retry_on": "5xx"}},
        send=[get("/")],
        upstream=[status(500), OK],
        status=500,
    ),
    Case(
        id="body-too-large",
        routes=[{**route(retry_policy={"retry_on": "5xx"}, timeout="0s"), "per_request_buffer_limit_bytes": 4}],
        vhost=TOLD,
        send=[post("/", b"hello")],
        upstream=[status(500), OK],
        status=500,
    ),
    Case(
        id="body-as-large-as-may-be",
        routes=[{**route(retry_policy={"retry_on": "5xx"}, timeout="0s"), "per_request_buffer_limit_bytes": 5}],
        vhost=TOLD,
        send=[post("/", b"hello")],
        upstream=[status(500), OK],
        status=200,
        ignore=KEPT,
    ),
    Case(
        id="body-limit-of-vhost",
        routes=[route(retry_policy={"retry_on": "5xx"})],
        vhost={**TOLD, "request_body_buffer_limit": 4},
        send=[post("/", b"hello")],
        upstream=[status(500), OK],
        status=500,
    ),
]

RESETS = [
    tried("reset", "reset", GONE, OK),
    tried("reset-by-rst", "reset", (AwaitBody(), Reset()), OK),
    tried("reset-by-5xx", "5xx", GONE, OK),
    tried("reset-by-gateway-error", "gateway-error", GONE, OK),
    tried("reset-limit", "reset", GONE, GONE, OK, status=503, flags="URX,UC"),
    tried("reset-post", "reset", GONE, OK, send=[post("/", b"hello")]),
    tried("reset-not-connect", "connect-failure", GONE, OK, status=503, flags="UC"),
    tried("reset-before-request", "reset-before-request", GONE, OK, status=503, flags="UC"),
    tried("reset-protocol-error", "reset", raw(b"nonsense\r\n\r\n"), OK),
    tried("reset-in-head", "reset", (AwaitBody(), Send(b"HTTP/1.1 200 OK\r\nx"), Pause(0.02), Close()), OK),
    tried("refused-stream-is-of-http2", "refused-stream", GONE, OK, status=503, flags="UC"),
    Case(
        id="connect-failure",
        routes=[route(cluster="refused", retry_policy={"retry_on": "connect-failure", "num_retries": 2})],
        vhost=TOLD,
        send=[get("/")],
        status=503,
        flags="URX,UF",
    ),
    Case(
        id="connect-failure-before-request",
        routes=[route(cluster="refused", retry_policy={"retry_on": "reset-before-request"})],
        vhost=TOLD,
        send=[get("/")],
        status=503,
        flags="URX,UF",
    ),
    Case(
        id="connect-failure-not-asked",
        routes=[route(cluster="refused", retry_policy={"retry_on": "retriable-4xx"})],
        vhost=TOLD,
        send=[get("/")],
        status=503,
        flags="UF",
    ),
    Case(
        id="no-host",
        routes=[route(cluster="empty", retry_policy={"retry_on": "5xx,connect-failure"})],
        vhost=TOLD,
        send=[get("/")],
        status=503,
        flags="UH",
    ),
    Case(
        id="overflow",
        clusters=[cluster("none-allowed", circuit_breakers={"thresholds": [{"max_requests": 0}]})],
        routes=[route(cluster="none-allowed", retry_policy={"retry_on": "5xx,reset"})],
        vhost=TOLD,
        send=[get("/")],
        status=503,
        flags="UO",
    ),
]

TIMEOUTS = [
    tried("per-try", "5xx", SILENT, OK, per_try_timeout="0.15s"),
    tried("per-try-limit", "5xx", SILENT, SILENT, OK, per_try_timeout="0.15s", status=504, flags="URX,UT"),
    tried("per-try-reset", "reset", SILENT, OK, per_try_timeout="0.15s"),
    tried("per-try-other", "connect-failure", SILENT, OK, per_try_timeout="0.15s", status=504, flags="UT"),
    tried("per-try-idle", "reset", SILENT, OK, per_try_idle_timeout="0.2s"),
    tried("per-try-idle-limit", "reset", SILENT, SILENT, per_try_idle_timeout="0.2s", status=504, flags="URX,UT"),
    Case(
        id="route-timeout-of-all-tries",
        routes=[route(retry_policy={"retry_on": "5xx", "num_retries": 5, "per_try_timeout": "0.3s"}, timeout="0.5s")],
        send=[get("/")],
        upstream=[SILENT],
        status=504,
        flags="UT",
        ignore=("upstream.*.headers", "log.*.upstream_*_bytes_sent"),
    ),
    Case(
        id="timeout-is-told",
        routes=[route(retry_policy={"retry_on": "reset", "num_retries": 2, "per_try_timeout": "0.2s"}, timeout="0s")],
        vhost={"include_is_timeout_retry_header": True, "include_request_attempt_count": True},
        send=[get("/")],
        upstream=[SILENT, GONE, OK],
        status=200,
    ),
]

HEADERS = [
    asking("asks", ["x-envoy-retry-on: 5xx"], status(500), OK),
    asking("asks-grpc", ["x-envoy-retry-grpc-on: internal"], status(200, "grpc-status: 13"), OK),
    asking("asks-many", ["x-envoy-retry-on: 5xx", "x-envoy-max-retries: 3"], status(500), status(500), status(500), OK),
    asking("asks-none", ["x-envoy-retry-on: 5xx", "x-envoy-max-retries: 0"], status(500), OK, status=500),
    asking("max-alone", ["x-envoy-max-retries: 3"], status(500), OK, status=500),
    asking(
        "asks-statuses",
        ["x-envoy-retry-on: retriable-status-codes", "x-envoy-retriable-status-codes: 418,  x,419"],
        status(418),
        OK,
    ),
    asking(
        "asks-headers",
        ["x-envoy-retry-on: retriable-headers", "x-envoy-retriable-header-names: X-A, X-Again"],
        status(200, "x-again: 1"),
        OK,
    ),
    asking(
        "asks-beside-policy",
        ["x-envoy-retry-on: retriable-4xx"],
        status(409),
        status(500),
        OK,
        retry_on="5xx",
        num_retries=2,
    ),
    asking("max-beside-policy", ["x-envoy-max-retries: 2"], status(500), status(500), OK, retry_on="5xx"),
    asking("asks-with-numbers-of-policy", ["x-envoy-retry-on: 5xx"], status(500), status(500), OK, num_retries=2),
    Case(
        id="asked-from-outside",
        routes=[route()],
        hcm={
            "use_remote_address": True,
            "internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]},
        },
        send=[get("/", "x-envoy-retry-on: 5xx")],
        upstream=[status(500), OK],
        status=500,
    ),
]


def hosts(name: str, *ports: str, **fields: Any) -> Json:
    made = cluster(name, **fields)
    made["load_assignment"]["endpoints"][0]["lb_endpoints"] = [
        {"endpoint": {"address": address(port)}} for port in ports
    ]
    return made


HOSTS = [
    Case(
        id="previous-hosts",
        clusters=[hosts("pair", UP, OTHER)],
        routes=[
            route(
                cluster="pair",
                retry_policy={
                    "retry_on": "5xx",
                    "num_retries": 1,
                    "retry_host_predicate": [PREVIOUS],
                    "host_selection_retry_max_attempts": 5,
                },
            )
        ],
        vhost=TOLD,
        send=[get("/")],
        upstream=[status(503)],
        status=503,
        # Which of them is first is chance.
        ignore=("log.*.upstream_*", "upstream.*.headers"),
    ),
]

BUDGETS = [
    Case(
        id="no-retry-allowed",
        clusters=[cluster("no-retry", circuit_breakers={"thresholds": [{"max_retries": 0}]})],
        routes=[route(cluster="no-retry", retry_policy={"retry_on": "5xx"})],
        send=[get("/")],
        upstream=[status(500), OK],
        status=500,
        flags="UO",
    ),
    Case(
        id="no-budget",
        clusters=[
            cluster(
                "no-budget",
                circuit_breakers={
                    "thresholds": [{"retry_budget": {"budget_percent": {"value": 0}, "min_retry_concurrency": 0}}]
                },
            )
        ],
        routes=[route(cluster="no-budget", retry_policy={"retry_on": "5xx"})],
        send=[get("/")],
        upstream=[status(500), OK],
        status=500,
        flags="UO",
    ),
    Case(
        id="least-of-budget",
        clusters=[
            cluster(
                "least-budget",
                circuit_breakers={
                    "thresholds": [{"retry_budget": {"budget_percent": {"value": 0}, "min_retry_concurrency": 1}}]
                },
            )
        ],
        routes=[route(cluster="least-budget", retry_policy={"retry_on": "5xx"}, timeout="0s")],
        send=in_turn(get("/"), get("/")),
        upstream=[status(500), OK, status(500), OK],
        status=(200, 200),
        ignore=KEPT,
    ),
]

LATE = (AwaitBody(), Pause(0.4), Send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate"))


def hedged(
    name: str, *answers: Answer, status: Any = 200, flags: str | None = None, send: Any = None, **policy: Any
) -> Case:
    """Tries may run beside each other. Bytes are counted in another way where they do."""
    return Case(
        id=name,
        routes=[
            route(
                retry_policy={"retry_on": "5xx", "per_try_timeout": "0.15s", **policy},
                hedge_policy={"hedge_on_per_try_timeout": True},
                timeout="2s",
            )
        ],
        vhost={**TOLD, "include_is_timeout_retry_header": True},
        send=send if send is not None else [get("/")],
        upstream=answers,
        status=status,
        flags=flags,
        ignore=("upstream.*.to", "upstream.*.headers", "log.*.upstream_*bytes*", "log.*.upstream_local*"),
    )


HEDGES = [
    hedged("hedge-second-is-first", LATE, reply("200 OK", b"second")),
    hedged(
        "hedge-first-is-first", LATE, (AwaitBody(), Pause(1.0), Send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"))
    ),
    hedged("hedge-no-need", OK),
    hedged("hedge-none-left", LATE, num_retries=0),
    hedged("hedge-then-failure", LATE, reply("503 X", b"no")),
    hedged("hedge-post", LATE, reply("200 OK", b"second"), send=[post("/", b"hello")]),
    hedged("hedge-failure-first", reply("503 X", b"no"), OK),
]

CASES = HEDGES + RESPONSES + RESETS + TIMEOUTS + HEADERS + HOSTS + BUDGETS


@pytest.mark.oracle
@pytest.mark.xdist_group("retries")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)


@pytest.mark.oracle
@pytest.mark.xdist_group("retries")
def test_same_counts_as_envoy(pair: Pair) -> None:
    """After all cases, wherever they were played before."""
    if RECORD:
        pytest.skip("Envoy alone is looked at")
    for case in (*RESPONSES, *RESETS, *TIMEOUTS, *BUDGETS):
        pair.play(case)
    theirs, ours = pair.stats()
    about = (".upstream_rq_retry", ".retry.", ".retry_or_shadow", ".upstream_rq_per_try")
    wanted = {name: value for name, value in theirs.items() if any(part in name for part in about)}
    assert len(wanted) > 20
    assert {name: ours.get(name, "0") for name in wanted} == wanted
