"""What a connection manager believes of a request's headers, and what it writes itself: addresses, ids, via, server."""

from __future__ import annotations

import pytest

from tests.oracle.case import Case, Json, add_header, get, in_turn, route
from tests.oracle.conftest import Pair
from tests.oracle.normalise import SENT_ID
from tests.support.upstream import reply

INTERNAL = {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}
# Everything that a stranger might send to be taken for Envoy.
FORGED = (
    "x-envoy-internal: true",
    "x-envoy-external-address: 6.6.6.6",
    "x-envoy-expected-rq-timeout-ms: 66",
    "x-envoy-original-path: /forged",
    "x-envoy-original-host: forged",
    "x-envoy-retry-on: 5xx",
    "x-envoy-max-retries: 6",
    "x-envoy-upstream-rq-timeout-ms: 6000",
    "x-envoy-upstream-rq-per-try-timeout-ms: 600",
    "x-envoy-upstream-alt-stat-name: forged",
    "x-envoy-decorator-operation: forged",
    "x-envoy-downstream-service-cluster: forged",
    "x-envoy-downstream-service-node: forged",
    "x-envoy-ip-tags: forged",
    "x-envoy-hedge-on-per-try-timeout: true",
    "x-envoy-retriable-status-codes: 566",
    "x-envoy-attempt-count: 66",
    "x-envoy-is-timeout-retry: true",
    "x-envoy-force-trace: true",
    "x-envoy-unknown: kept",
    "x-forwarded-client-cert: forged",
    "x-forwarded-proto: https",
    "x-forwarded-port: 66",
    "x-forwarded-host: forged",
    "x-request-id: forged",
)
FORGED_REPLY = (
    "x-envoy-upstream-service-time: 66",
    "x-envoy-attempt-count: 66",
    "x-envoy-overloaded: true",
    "x-envoy-decorator-operation: forged",
    "x-envoy-upstream-canary: true",
    "x-envoy-immediate-health-check-fail: true",
    "x-envoy-upstream-healthchecked-cluster: forged",
    "x-envoy-degraded: true",
    "x-envoy-unknown: kept",
    "x-request-id: forged",
    "server: forged",
    "via: 1.0 forged",
)


def edge(id: str, *sent: str, **options: object) -> Case:  # noqa: A002
    """A connection manager that faces strangers."""
    hcm: Json = {"use_remote_address": True, **options}
    return Case(id=f"edge-{id}", hcm=hcm, send=[get("/", *sent)], status=200)


def inside(id: str, *sent: str, **options: object) -> Case:  # noqa: A002
    """A connection manager that believes its peers."""
    return Case(id=f"inside-{id}", hcm=dict(options), send=[get("/", *sent)], status=200)


ADDRESSES = [
    edge("plain"),
    edge("forged", *FORGED),
    edge("xff", "x-forwarded-for: 9.9.9.9"),
    edge("xff-two-lines", "x-forwarded-for: 9.9.9.9", "x-forwarded-for: 8.8.8.8"),
    edge("internal", *FORGED, internal_address_config=INTERNAL),
    edge("skip-append", "x-forwarded-for: 9.9.9.9", skip_xff_append=True),
    edge("skip-append-none", skip_xff_append=True),
    edge("one-hop", "x-forwarded-for: 9.9.9.9, 8.8.8.8", xff_num_trusted_hops=1),
    edge("two-hops", "x-forwarded-for: 9.9.9.9, 8.8.8.8", xff_num_trusted_hops=2),
    edge("too-few-hops", "x-forwarded-for: 9.9.9.9", xff_num_trusted_hops=3),
    edge("one-hop-proto", "x-forwarded-proto: https", "x-forwarded-for: 9.9.9.9", xff_num_trusted_hops=1),
    inside("plain"),
    inside("forged", *FORGED),
    inside("xff", "x-forwarded-for: 9.9.9.9, 8.8.8.8"),
    inside("xff-garbage", "x-forwarded-for: garbage"),
    inside("xff-spaces", "x-forwarded-for:  9.9.9.9 ,8.8.8.8 "),
    inside("xff-ipv6", "x-forwarded-for: 2001:db8::1"),
    inside("xff-with-port", "x-forwarded-for: 9.9.9.9:99"),
    inside("xff-internal", "x-forwarded-for: 10.0.0.1", internal_address_config=INTERNAL),
    inside("one-hop", "x-forwarded-for: 9.9.9.9, 8.8.8.8", xff_num_trusted_hops=1),
    inside("two-hops", "x-forwarded-for: 9.9.9.9, 8.8.8.8", xff_num_trusted_hops=2),
    inside("proto", "x-forwarded-proto: https"),
    inside("proto-garbage", "x-forwarded-proto: gopher"),
    inside("proto-twice", "x-forwarded-proto: https", "x-forwarded-proto: http"),
]

IDS = [
    inside("id-generated"),
    inside("id-kept", f"x-request-id: {SENT_ID}"),
    inside("id-garbage-kept", "x-request-id: not an id"),
    inside("id-empty", "x-request-id:"),
    inside("id-off", generate_request_id=False),
    inside("id-off-but-sent", f"x-request-id: {SENT_ID}", generate_request_id=False),
    inside("id-in-response", always_set_request_id_in_response=True),
    inside("id-sent-in-response", f"x-request-id: {SENT_ID}", always_set_request_id_in_response=True),
    edge("id-replaced", f"x-request-id: {SENT_ID}"),
    edge("id-preserved", f"x-request-id: {SENT_ID}", preserve_external_request_id=True),
    edge("id-preserved-none", preserve_external_request_id=True),
    edge("id-of-internal-kept", f"x-request-id: {SENT_ID}", internal_address_config=INTERNAL),
    Case(
        id="id-in-local-reply",
        hcm={"always_set_request_id_in_response": True},
        routes=[route(cluster="empty")],
        send=[get("/")],
        status=503,
    ),
]

NAMES = [
    Case(
        id="server-overwritten",
        send=[get("/")],
        upstream=[reply("200 OK", b"ok", "server: theirs", "x-after: 1")],
        status=200,
    ),
    Case(
        id="server-named",
        hcm={"server_name": "mine"},
        send=[get("/")],
        upstream=[reply("200 OK", b"ok", "server: theirs")],
        status=200,
    ),
    Case(
        id="server-append-if-absent",
        hcm={"server_header_transformation": "APPEND_IF_ABSENT", "server_name": "mine"},
        send=in_turn(get("/"), get("/")),
        upstream=[reply("200 OK", b"ok", "server: theirs"), reply()],
        status=(200, 200),
    ),
    Case(
        id="server-pass-through",
        hcm={"server_header_transformation": "PASS_THROUGH"},
        send=in_turn(get("/"), get("/")),
        upstream=[reply("200 OK", b"ok", "server: theirs"), reply()],
        status=(200, 200),
    ),
    Case(
        id="server-pass-through-local",
        hcm={"server_header_transformation": "PASS_THROUGH"},
        routes=[route(cluster="empty")],
        send=[get("/")],
        status=503,
    ),
    Case(
        id="via",
        hcm={"via": "1.1 us"},
        send=in_turn(get("/"), get("/", "via: 1.0 them")),
        upstream=[reply(), reply("200 OK", b"ok", "via: 1.0 theirs")],
        status=(200, 200),
    ),
    Case(
        id="forged-reply",
        send=[get("/")],
        upstream=[reply("200 OK", b"ok", *FORGED_REPLY)],
        status=200,
    ),
    Case(
        id="forged-reply-with-id",
        hcm={"always_set_request_id_in_response": True, "via": "us"},
        send=[get("/", f"x-request-id: {SENT_ID}")],
        upstream=[reply("200 OK", b"ok", *FORGED_REPLY)],
        status=200,
    ),
    Case(
        id="service-cluster-added",
        hcm={"add_user_agent": True},
        send=in_turn(get("/"), get("/", "user-agent: theirs")),
        status=(200, 200),
    ),
    Case(
        id="date-kept",
        send=in_turn(get("/"), get("/")),
        upstream=[reply("200 OK", b"ok", "Date: Fri, 01 Jan 2021 00:00:00 GMT"), reply("200 OK", b"ok", "date: x")],
        status=(200, 200),
    ),
    Case(
        id="forward-client-cert-sanitised",
        hcm={"forward_client_cert_details": "SANITIZE"},
        send=[get("/", "x-forwarded-client-cert: By=x;Hash=y")],
        status=200,
    ),
    Case(
        id="suppressed-envoy-headers",
        hcm={
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                        "suppress_envoy_headers": True,
                    },
                }
            ]
        },
        routes=[route("/a", prefix_rewrite="/b"), route("/e", "empty"), route()],
        send=in_turn(get("/a", *FORGED), get("/"), get("/e")),
        upstream=[reply("200 OK", b"ok", "x-envoy-upstream-service-time: 3")],
        status=(200, 200, 503),
    ),
    Case(
        id="scheme-overwritten",
        hcm={"scheme_header_transformation": {"scheme_to_overwrite": "https"}},
        routes=[{**route(), "request_headers_to_add": [add_header("x-scheme", "%REQ(:scheme)%")]}],
        send=in_turn(get("/"), get("http://$HOST/"), get("/", "x-forwarded-proto: http")),
        status=(200, 200, 200),
    ),
    Case(
        id="scheme-of-forwarded-proto",
        routes=[{**route(), "request_headers_to_add": [add_header("x-scheme", "%REQ(:scheme)%")]}],
        send=in_turn(get("/", "x-forwarded-proto: https"), get("https://$HOST/")),
        status=(200, 200),
    ),
    Case(
        id="forwarded-port-appended",
        hcm={"append_x_forwarded_port": True, "use_remote_address": True},
        send=in_turn(get("/"), get("/", "x-forwarded-port: 9")),
        status=(200, 200),
    ),
    Case(
        id="attempt-counts",
        vhost={"include_request_attempt_count": True, "include_attempt_count_in_response": True},
        routes=[route()],
        send=[get("/", "x-envoy-attempt-count: 7")],
        status=200,
    ),
    Case(
        id="no-timeout-no-header",
        routes=[route(timeout="0s")],
        send=[get("/", "x-envoy-expected-rq-timeout-ms: 5")],
        status=200,
    ),
]

CASES = ADDRESSES + IDS + NAMES


@pytest.mark.oracle
@pytest.mark.xdist_group("trust")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
