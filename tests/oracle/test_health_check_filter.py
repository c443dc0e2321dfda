"""The health_check filter: who answers, with what, and what the log says of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.bootstrap import TYPE, router
from tests.oracle.case import Case, Json, cluster, get, in_turn, post, says
from tests.oracle.conftest import Pair
from tests.oracle.observation import differences
from tests.support.upstream import OK, reply

CLUSTERS = [cluster("none", None)]
BAD = {**cluster("unwell")}
BAD["load_assignment"] = {
    "cluster_name": "unwell",
    "endpoints": [
        {
            "lb_endpoints": [
                {**cluster("x")["load_assignment"]["endpoints"][0]["lb_endpoints"][0], "health_status": status}
                for status in ("HEALTHY", "UNHEALTHY", "DEGRADED", "UNHEALTHY")
            ]
        }
    ],
}


def check(**fields: Any) -> Json:
    typed = {"@type": f"{TYPE}.filters.http.health_check.v3.HealthCheck", "pass_through_mode": False, **fields}
    return {"http_filters": [{"name": "envoy.filters.http.health_check", "typed_config": typed}, router()]}


def asks(path: str) -> list[Json]:
    return [{"name": ":path", "string_match": {"exact": path}}]


def least(name: str, percent: float) -> Json:
    return {"cluster_min_healthy_percentages": {name: {"value": percent}}}


CASES = [
    Case(id="all", hcm=check(), send=[get("/")], status=200, details="health_check_ok"),
    Case(id="asked", hcm=check(headers=asks("/hc")), send=[get("/hc")], status=200, details="health_check_ok"),
    Case(id="asked-post", hcm=check(headers=asks("/hc")), send=[post("/hc", b"hello")], status=200),
    Case(id="not-asked", hcm=check(headers=asks("/hc")), send=[get("/")], status=200, details="via_upstream"),
    Case(
        id="two-headers",
        hcm=check(headers=[*asks("/hc"), {"name": "x", "present_match": True}]),
        send=in_turn(get("/hc"), get("/hc", "x: 1")),
        status=(200, 200),
    ),
    Case(id="passed", hcm=check(pass_through_mode=True), send=[get("/")], upstream=[reply("503 X")], status=503),
    Case(
        id="cached",
        hcm=check(pass_through_mode=True, cache_time="100s"),
        send=in_turn(get("/"), get("/"), get("/")),
        upstream=[reply("429 X", b"no", "x-envoy-degraded: yes"), OK],
        status=(429, 429, 429),
    ),
    Case(
        id="cached-good",
        hcm=check(pass_through_mode=True, cache_time="100s", headers=asks("/hc")),
        send=in_turn(get("/hc"), get("/hc"), get("/")),
        status=(200, 200, 200),
    ),
    Case(
        id="direct",
        hcm=check(pass_through_mode=True),
        routes=[says("hello", {"prefix": "/"})],
        send=[get("/")],
        status=200,
    ),
    Case(id="no-route", hcm=check(pass_through_mode=True), routes=[], send=[get("/")], status=404, flags="NR"),
    Case(id="cluster", hcm=check(**least("up", 100)), send=[get("/")], status=200),
    Case(id="cluster-none", hcm=check(**least("nobody", 0)), send=[get("/")], status=503, flags="LH"),
    Case(id="cluster-empty", hcm=check(**least("none", 1)), clusters=CLUSTERS, send=[get("/")], status=503),
    Case(id="cluster-empty-0", hcm=check(**least("none", 0.9)), clusters=CLUSTERS, send=[get("/")], status=200),
    Case(id="cluster-half", hcm=check(**least("unwell", 50)), clusters=[BAD], send=[get("/")], status=200),
    Case(id="cluster-half-9", hcm=check(**least("unwell", 50.9)), clusters=[BAD], send=[get("/")], status=200),
    Case(id="cluster-more", hcm=check(**least("unwell", 51)), clusters=[BAD], send=[get("/")], status=503),
]


@pytest.mark.oracle
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.id))
def test_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["all", "not-asked", "passed", "cluster", "no-route", "direct"])
def test_as_envoy_while_it_is_to_fail(name: str, pair: Pair) -> None:
    case = next(one for one in CASES if one.id == name)
    pair.tell("/healthcheck/fail")
    try:
        theirs, ours = pair.play(case, pinned=False)
    finally:
        pair.tell("/healthcheck/ok")
    assert "x-envoy-immediate-health-check-fail: true" in theirs["reply.0.headers"]
    if ours is not None:
        assert differences(theirs, ours, ("end",)) == []
