"""Hosts with several addresses, by Envoy and by pyproxy."""

from __future__ import annotations

import pytest

from tests.oracle.case import FULL, REFUSED, UP, Case, Json, address, cluster, get, in_turn, route
from tests.oracle.conftest import Pair


def several(name: str, *ports: str) -> Json:
    """A host at the first of these ports, which can also be reached at the others."""
    made = cluster(name, ports[0])
    host = made["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    host["additional_addresses"] = [{"address": address(port)} for port in ports[1:]]
    return made


def reached(name: str, *ports: str, status: int = 200, flags: str | None = None) -> Case:
    return Case(
        id=name,
        routes=[route(cluster=f"he-{name}", timeout="0s")],
        clusters=[several(f"he-{name}", *ports)],
        send=in_turn(get("/"), get("/")) if status == 200 else [get("/")],
        status=(status, status) if status == 200 else status,
        flags=flags,
        ignore=("log.*.upstream_local*",),
    )


CASES = [
    reached("first", UP, REFUSED),
    reached("second", REFUSED, UP),
    reached("third", REFUSED, REFUSED, UP),
    reached("beside", FULL, UP),
    reached("none", REFUSED, REFUSED, status=503, flags="UF"),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("happy-eyeballs")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
