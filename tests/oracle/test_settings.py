"""Settings that few configurations have: each of them must be seen in what is sent, answered or logged."""

from __future__ import annotations

import pytest

from tests.oracle.bootstrap import file_log, router
from tests.oracle.case import Case, Json, cluster, get, in_turn, post, route
from tests.oracle.conftest import Pair
from tests.support.upstream import AwaitBody, Pause, reply

INTERNAL = {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}
INSIDE: Json = {"use_remote_address": True, "internal_address_config": INTERNAL}
META = {"filter_metadata": {"own": {"who": "me"}}}
NAMES = file_log(
    "names.log",
    log_format={
        "text_format_source": {
            "inline_string": (
                "%UPSTREAM_CLUSTER% %UPSTREAM_CLUSTER_RAW% %METADATA(CLUSTER:own:who)% %CLUSTER_METADATA(own:who)% "
                "%METADATA(LISTENER:own:who)% %METADATA(LISTENER_FILTER_CHAIN:own:who)% "
                "%FILTER_CHAIN_NAME% %LISTENER_NAME%\n"
            )
        }
    },
)
QUIET = router(suppress_envoy_headers=True)
RESPECT = router(respect_expected_rq_timeout=True)
LATE = (AwaitBody(), Pause(1.0), *reply())
STRICT = router(
    strict_check_headers=[
        "x-envoy-upstream-rq-timeout-ms",
        "x-envoy-upstream-rq-per-try-timeout-ms",
        "x-envoy-max-retries",
        "x-envoy-retry-on",
        "x-envoy-retry-grpc-on",
    ]
)


def strict(id: str, header: str, status: int, **more: object) -> Case:  # noqa: A002
    flags = "IH" if status == 400 else None
    hcm = {**INSIDE, "http_filters": [STRICT]}
    return Case(id=f"strict-{id}", hcm=hcm, send=[get("/", header)], status=status, flags=flags)


CASES = [
    Case(
        id="names-alt-stat-name",
        clusters=[cluster("alt", alt_stat_name="other-name", metadata=META)],
        routes=[route(cluster="alt")],
        listener={"metadata": META},
        hcm={"access_log": [NAMES]},
        files=["names.log"],
        send=[get("/")],
        status=200,
    ),
    Case(
        id="names-no-host",
        clusters=[cluster("alt-empty", None, alt_stat_name="other-name", metadata=META)],
        routes=[route(cluster="alt-empty")],
        listener={"metadata": META},
        hcm={"access_log": [NAMES]},
        files=["names.log"],
        send=[get("/")],
        status=503,
    ),
    Case(
        id="agent",
        hcm={"add_user_agent": True},
        send=in_turn(get("/"), get("/", "user-agent: theirs")),
        status=(200, 200),
    ),
    Case(id="agent-empty", hcm={"add_user_agent": True}, send=[get("/", "user-agent: ")], status=200),
    Case(id="agent-edge", hcm={"add_user_agent": True, "use_remote_address": True}, send=[get("/")], status=200),
    Case(id="port", hcm={"append_x_forwarded_port": True}, send=[get("/")], status=200),
    Case(id="port-kept", hcm={"append_x_forwarded_port": True}, send=[get("/", "x-forwarded-port: 7")], status=200),
    Case(
        id="port-edge",
        hcm={"append_x_forwarded_port": True, "use_remote_address": True},
        send=in_turn(get("/"), get("/", "x-forwarded-port: 7")),
        status=(200, 200),
    ),
    Case(
        id="port-trusted",
        hcm={"append_x_forwarded_port": True, "use_remote_address": True, "xff_num_trusted_hops": 1},
        send=in_turn(get("/"), get("/", "x-forwarded-port: 7", "x-forwarded-for: 1.2.3.4")),
        status=(200, 200),
    ),
    Case(id="port-inside", hcm={"append_x_forwarded_port": True, **INSIDE}, send=[get("/")], status=200),
    Case(
        id="mapped",
        hcm={"represent_ipv4_remote_address_as_ipv4_mapped_ipv6": True, "use_remote_address": True},
        send=in_turn(get("/"), get("/", "x-forwarded-for: 1.2.3.4")),
        status=(200, 200),
    ),
    Case(
        id="mapped-inside",
        hcm={"represent_ipv4_remote_address_as_ipv4_mapped_ipv6": True, **INSIDE},
        send=[get("/")],
        status=200,
    ),
    Case(
        id="suppressed-rewrite",
        hcm={"http_filters": [QUIET]},
        routes=[route(prefix_rewrite="/new", host_rewrite_literal="h")],
        send=[get("/old")],
        status=200,
    ),
    Case(
        id="suppressed-redirect",
        hcm={"http_filters": [QUIET]},
        routes=[{"match": {"prefix": "/"}, "redirect": {"prefix_rewrite": "/new"}}],
        send=[get("/old")],
        status=301,
    ),
    Case(
        id="internal-only",
        table={"internal_only_headers": ["X-Inside", "x-two"]},
        send=[get("/", "x-inside: 1", "X-TWO: 2", "x-three: 3")],
        status=200,
    ),
    Case(
        id="internal-only-inside",
        table={"internal_only_headers": ["x-inside"]},
        hcm=INSIDE,
        send=[get("/", "x-inside: 1")],
        status=200,
    ),
    *(
        Case(
            id=f"xfcc-{how.lower().replace('_', '-')}",
            hcm={"forward_client_cert_details": how},
            send=[get("/", "x-forwarded-client-cert: forged")],
            status=200,
        )
        for how in ("SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY")
    ),
    Case(
        id="respect",
        hcm={**INSIDE, "http_filters": [RESPECT]},
        upstream=[LATE],
        send=[get("/", "x-envoy-expected-rq-timeout-ms: 200")],
        status=504,
    ),
    Case(
        id="respect-kept",
        hcm={**INSIDE, "http_filters": [RESPECT]},
        send=in_turn(
            get("/", "x-envoy-expected-rq-timeout-ms: 2000", "x-envoy-upstream-rq-timeout-ms: 3000"),
            get("/", "x-envoy-upstream-rq-timeout-ms: 3000"),
            get("/", "x-envoy-expected-rq-timeout-ms: x"),
            get("/", "x-envoy-expected-rq-timeout-ms: x", "x-envoy-upstream-rq-timeout-ms: 3000"),
            get("/", "x-envoy-expected-rq-timeout-ms: 0"),
        ),
        status=(200, 200, 200, 200, 200),
    ),
    Case(
        id="respect-outside",
        hcm={"http_filters": [RESPECT]},
        send=[get("/", "x-envoy-expected-rq-timeout-ms: 2000")],
        status=200,
    ),
    strict("timeout", "x-envoy-upstream-rq-timeout-ms: x", 400),
    strict("timeout-good", "x-envoy-upstream-rq-timeout-ms: 5000", 200),
    strict("timeout-empty", "x-envoy-upstream-rq-timeout-ms: ", 400),
    strict("timeout-minus", "x-envoy-upstream-rq-timeout-ms: -1", 400),
    strict("timeout-plus", "x-envoy-upstream-rq-timeout-ms: +5000", 200),
    strict("timeout-large", "x-envoy-upstream-rq-timeout-ms: 99999999999999999999", 400),
    strict("timeout-u32", "x-envoy-upstream-rq-timeout-ms: 4294967296", 200),
    strict("timeout-twice", "x-envoy-upstream-rq-timeout-ms: 1000\r\nx-envoy-upstream-rq-timeout-ms: 2000", 400),
    strict("timeout-spaces", "x-envoy-upstream-rq-timeout-ms: 10 00", 400),
    strict("per-try", "x-envoy-upstream-rq-per-try-timeout-ms: x", 400),
    strict("retries", "x-envoy-max-retries: 1.5", 400),
    strict("retry-on", "x-envoy-retry-on: 5xx, nope", 400),
    strict("retry-on-good", "x-envoy-retry-on: 5xx, gateway-error,reset", 200),
    strict(
        "retry-on-all",
        "x-envoy-retry-on: 5xx,gateway-error,reset,reset-before-request,connect-failure,"
        "envoy-ratelimited,retriable-4xx,refused-stream,retriable-status-codes,retriable-headers,http3-post-connect-failure",
        200,
    ),
    strict("retry-on-grpc", "x-envoy-retry-on: cancelled", 400),
    strict("retry-on-empty", "x-envoy-retry-on: ", 200),
    strict("retry-on-upper", "x-envoy-retry-on: 5XX", 400),
    strict("retry-on-comma", "x-envoy-retry-on: 5xx,,reset", 200),
    strict("grpc", "x-envoy-retry-grpc-on: nope", 400),
    strict(
        "grpc-good", "x-envoy-retry-grpc-on: cancelled,deadline-exceeded,internal,resource-exhausted,unavailable", 200
    ),
    strict("binary", "x-envoy-max-retries: \x80", 400),
    strict("other", "x-envoy-hedge-on-per-try-timeout: x", 200),
    Case(id="strict-outside", hcm={"http_filters": [STRICT]}, send=[get("/", "x-envoy-max-retries: x")], status=200),
    Case(
        id="strict-order",
        hcm={**INSIDE, "http_filters": [STRICT]},
        send=[get("/", "x-envoy-retry-on: nope", "x-envoy-upstream-rq-timeout-ms: x")],
        status=400,
    ),
    Case(
        id="small-buffers",
        listener={"per_connection_buffer_limit_bytes": 1000},
        clusters=[cluster("tiny", per_connection_buffer_limit_bytes=1000)],
        routes=[route(cluster="tiny")],
        upstream=[(AwaitBody(), *reply(body=b"y" * 300_000))],
        send=[post("/", b"x" * 300_000)],
        status=200,
    ),
    Case(
        id="keepalive",
        clusters=[cluster("alive", upstream_connection_options={"tcp_keepalive": {"keepalive_time": 9}})],
        routes=[route(cluster="alive")],
        send=[get("/")],
        status=200,
    ),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("settings")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
