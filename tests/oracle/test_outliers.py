"""Hosts that fail too often leave the rotation: after how many failures of which kind, and what is counted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.case import REFUSED, UP, Case, cluster, get, in_turn, route
from tests.oracle.conftest import RECORD, Pair
from tests.support.downstream import AwaitReply, Wait
from tests.support.upstream import OK, Answer, AwaitBody, AwaitClose, Close, reply

GONE = (AwaitBody(), Close())
SILENT = (AwaitBody(), AwaitClose())


def status(code: int, *headers: str) -> Answer:
    return reply(f"{code} X", b"no", *headers)


def judged(
    name: str,
    statuses: list[int],
    *answers: Answer,
    port: str = UP,
    action: Any = None,
    keys: Any = None,
    headers: tuple[str, ...] = (),
    **detection: Any,
) -> Case:
    """A cluster of one host, which may be ejected, and no panic; one request for each status."""
    return Case(
        id=name,
        clusters=[
            cluster(
                f"of-{name}",
                port,
                common_lb_config={"healthy_panic_threshold": {"value": 0}},
                outlier_detection={"max_ejection_percent": 100, "interval": "60s", **detection},
                **(keys or {}),
            )
        ],
        routes=[route(cluster=f"of-{name}", **(action or {}))],
        # Envoy ejects a moment after the answer.
        send=[*in_turn(*[get("/", *headers)] * (len(statuses) - 1)), AwaitReply(), Wait(0.1), get("/", *headers)],
        upstream=answers or (OK,),
        status=tuple(statuses),
        # The last request of a gRPC call finds no host: what counts here is that it finds none.
        ignore=("upstream.*.to", "upstream.*.headers", *(("reply.2.*", "log.2.*") if headers else ())),
    )


GATEWAY = {
    "enforcing_consecutive_5xx": 0,
    "consecutive_gateway_failure": 2,
    "enforcing_consecutive_gateway_failure": 100,
}
SPLIT = {"split_external_local_origin_errors": True, "consecutive_local_origin_failure": 2}
CASES = [
    judged("in-a-row", [500, 500, 503], status(500), consecutive_5xx=2),
    judged("by-default", [500, 500, 500, 500, 500, 503], status(500)),
    judged(
        "not-in-a-row",
        [500, 200, 500, 404, 500],
        status(500),
        OK,
        status(500),
        status(404),
        status(500),
        consecutive_5xx=2,
    ),
    judged("not-enforced", [500, 500, 500], status(500), consecutive_5xx=2, enforcing_consecutive_5xx=0),
    judged("gateway", [503, 504, 503], status(503), status(504), **GATEWAY),
    judged("gateway-not-500", [503, 500, 503, 500], status(503), status(500), status(503), status(500), **GATEWAY),
    judged("grpc-status-of-no-grpc", [200, 200, 200], status(200, "grpc-status: 14"), consecutive_5xx=2),
    judged(
        "grpc",
        [200, 200, 200],
        reply("200 X", b"", "content-type: application/grpc", "grpc-status: 14"),
        headers=("content-type: application/grpc",),
        consecutive_5xx=2,
    ),
    judged("resets", [503, 503, 503], GONE, consecutive_5xx=2),
    judged("resets-are-gateway-failures", [503, 503, 503], GONE, **GATEWAY),
    judged("timeouts", [504, 504, 503], SILENT, action={"timeout": "0.1s"}, **GATEWAY),
    judged("refused", [503, 503, 503], port=REFUSED, consecutive_5xx=2),
    judged("refused-split", [503, 503, 503], port=REFUSED, consecutive_5xx=1, **SPLIT),
    judged("answers-split", [500, 500, 500, 503], status(500), consecutive_5xx=3, **SPLIT),
    judged("resets-split", [503, 503, 503], GONE, consecutive_5xx=9, **SPLIT),
    judged(
        "retried",
        [500, 503],
        status(500),
        action={"retry_policy": {"retry_on": "5xx"}, "timeout": "0s"},
        consecutive_5xx=2,
    ),
    judged("one-of-one", [500, 500, 500], status(500), consecutive_5xx=2, max_ejection_percent=99),
    judged("at-most", [500, 500, 500], status(500), consecutive_5xx=2, max_ejection_percent=0),
    judged(
        "at-least-one",
        [500, 500, 503],
        status(500),
        consecutive_5xx=2,
        max_ejection_percent=0,
        always_eject_one_host=True,
    ),
    judged(
        "overflow",
        [503, 503, 503],
        OK,
        consecutive_5xx=2,
        keys={"circuit_breakers": {"thresholds": [{"max_requests": 0}]}},
    ),
]

played: set[str] = set()


@pytest.mark.oracle
@pytest.mark.xdist_group("outliers")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    played.add(case.id)
    pair.check(case)


@pytest.mark.oracle
@pytest.mark.xdist_group("outliers")
def test_same_counts_as_envoy(pair: Pair) -> None:
    """After all cases, wherever they were played before (a host that was ejected stays so)."""
    if RECORD:
        pytest.skip("Envoy alone is looked at")
    for case in CASES:
        if case.id not in played:  # but perhaps by another process
            pair.play(case)
    theirs, ours = pair.stats()
    wanted = {name: value for name, value in theirs.items() if ".outlier_detection." in name}
    assert wanted
    assert {name: ours.get(name, "0") for name in wanted} == wanted
