"""Clusters of clusters, by Envoy and by pyproxy: who answers, what is logged, and where it counts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.case import OTHER, Case, Json, cluster, get, route
from tests.oracle.conftest import RECORD, Pair
from tests.support.upstream import OK, reply

TYPE = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig"
PRIORITIES: Json = {
    "name": "p",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        "update_frequency": 1,
    },
}


def aggregate(name: str, *members: str) -> Json:
    typed = {"@type": TYPE, "clusters": list(members)}
    return {
        "name": name,
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": typed},
    }


def of(
    name: str, *members: str, status: int = 200, upstream: Any = (OK,), more: Json | None = None, **fields: Any
) -> Case:
    return Case(
        id=name,
        routes=[route(cluster=f"agg-{name}", **(more or {}))],
        clusters=[aggregate(f"agg-{name}", *members), *fields.pop("clusters", ())],
        send=[get("/")],
        upstream=upstream,
        status=status,
        **fields,
    )


ILL: Json = cluster("ill", OTHER)
ILL["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["health_status"] = "UNHEALTHY"

CASES = [
    of("first", "up", "other"),
    of("second", "other", "up"),
    of("empty-first", "empty", "up"),
    of("unknown-first", "nowhere", "up"),
    of("unhealthy-first", "ill", "up", clusters=[ILL]),
    of("nobody", "empty", status=503, flags="UH"),
    of("only-unknown", "nowhere", status=503, flags="UH"),
    of("failing", "up", "other", upstream=[reply("503 X", b"no")], status=503),
    of(
        "retried-elsewhere",
        "up",
        "other",
        upstream=[reply("503 X", b"no")],
        status=503,
        flags="URX",
        more={"timeout": "0s", "retry_policy": {"retry_on": "5xx", "retry_priority": PRIORITIES}},
        ignore=("upstream.*.to", "reply.*.body"),
    ),
    of(
        "refused-first",
        "refused",
        "up",
        more={"timeout": "0s", "retry_policy": {"retry_on": "connect-failure", "retry_priority": PRIORITIES}},
    ),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("aggregates")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)


@pytest.mark.oracle
@pytest.mark.xdist_group("aggregates")
def test_same_counts_as_envoy(pair: Pair) -> None:
    """After all cases, wherever they were played before."""
    if RECORD:
        pytest.skip("Envoy alone is looked at")
    for case in CASES:
        pair.play(case)
    theirs, ours = pair.stats()
    about = ("upstream_rq_", "retry", "none_healthy")
    wanted = {
        name: value
        for name, value in theirs.items()
        if name.startswith("cluster.") and any(part in name for part in about) and "circuit" not in name
    }
    assert len(wanted) > 20
    assert {name: ours.get(name, "0") for name in wanted} == wanted
