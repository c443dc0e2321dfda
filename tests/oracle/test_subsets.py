"""Hosts by their metadata: which host a route gets, and what happens where no host has what is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.case import OTHER, UP, Case, Json, address, cluster, get, in_turn, route
from tests.oracle.conftest import Pair


def lb(**labels: Any) -> Json:
    return {"filter_metadata": {"envoy.lb": labels}}


def versions(name: str, *selectors: Json, up: Json | None = None, other: Json | None = None, **fields: Any) -> Json:
    """`up` is version 1 in stage prod, `other` version 2 in stage dev."""
    balance = fields.pop("lb", {})
    made = cluster(
        name,
        lb_subset_config={"subset_selectors": list(selectors) or [{"keys": ["version"]}], **fields},
        **balance,
    )
    made["load_assignment"]["endpoints"][0]["lb_endpoints"] = [
        {"endpoint": {"address": address(UP)}, "metadata": up or lb(version="1", stage="prod", n=1)},
        {"endpoint": {"address": address(OTHER)}, "metadata": other or lb(version="2", stage="dev", n=2)},
    ]
    return made


def sent(name: str, wanted: Json, *selectors: Json, status: int = 200, **fields: Any) -> Case:
    """Several requests, so that chance would be found out."""
    return Case(
        id=name,
        clusters=[versions(f"of-{name}", *selectors, **fields)],
        routes=[route(cluster=f"of-{name}", **({"metadata_match": wanted} if wanted else {}))],
        send=in_turn(*[get("/")] * 4),
        status=(status,) * 4,
        ignore=("log.*.upstream_local*",),
    )


PAIR: Json = {"keys": ["stage", "version"]}
CASES = [
    sent("one-key", lb(version="2")),
    sent("number", lb(n=2), {"keys": ["n"]}),
    sent("number-is-no-text", lb(n="2"), {"keys": ["n"]}, status=503),
    sent("two-keys", lb(version="1", stage="prod"), PAIR),
    sent("two-keys-that-never-meet", lb(version="1", stage="dev"), PAIR, status=503),
    sent("not-a-selector", lb(stage="dev"), status=503),
    sent("more-than-a-selector", lb(version="1", stage="prod"), status=503),
    sent("nothing-asked", {}, status=503),
    sent("unknown-value", lb(version="3"), status=503),
    sent("default", lb(version="3"), fallback_policy="DEFAULT_SUBSET", default_subset={"version": "2"}),
    sent("default-for-who-asks-nothing", {}, fallback_policy="DEFAULT_SUBSET", default_subset={"stage": "dev"}),
    sent(
        "own-fallback",
        lb(version="3"),
        {"keys": ["version"], "fallback_policy": "NO_FALLBACK"},
        fallback_policy="ANY_ENDPOINT",
        status=503,
    ),
    sent(
        "fewer-keys",
        lb(version="2", stage="none"),
        {**PAIR, "fallback_policy": "KEYS_SUBSET", "fallback_keys_subset": ["version"]},
        {"keys": ["version"]},
    ),
    sent("lists", lb(version="2"), list_as_any=True, other=lb(version=["2", "3"])),
    sent("lists-as-they-are", lb(version="2"), other=lb(version=["2", "3"]), status=503),
    Case(
        id="weighted-cluster-adds",
        clusters=[versions("adding", PAIR)],
        routes=[
            {
                "match": {"prefix": "/"},
                "route": {
                    "metadata_match": lb(stage="prod", version="2"),
                    "weighted_clusters": {
                        "clusters": [{"name": "adding", "weight": 1, "metadata_match": lb(version="1")}]
                    },
                },
            }
        ],
        send=[get("/")],
        status=200,
    ),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("subsets")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)


@pytest.mark.oracle
@pytest.mark.xdist_group("subsets")
def test_same_counts_as_envoy(pair: Pair) -> None:
    for case in CASES:
        pair.play(case)
    theirs, ours = pair.stats()
    about = (".lb_subsets_selected", ".lb_subsets_fallback", ".lb_subsets_fallback_panic")
    wanted = {name: value for name, value in theirs.items() if name.endswith(about)}
    played = {name: ours.get(name, "0") for name in wanted}
    assert [name for name in wanted if bool(int(wanted[name])) != bool(int(played[name]))] == []
