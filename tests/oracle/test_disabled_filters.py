"""Filters that are left out, by the chain or by a route, and routes that let them take part."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle.bootstrap import TYPE, router
from tests.oracle.case import Case, Json, get
from tests.oracle.conftest import Pair

NAME = "envoy.filters.http.health_check"


def chain(**fields: Any) -> Json:
    """A filter that answers all requests, if it is asked."""
    typed = {"@type": f"{TYPE}.filters.http.health_check.v3.HealthCheck", "pass_through_mode": False}
    return {"http_filters": [{"name": NAME, "typed_config": typed, **fields}, router()]}


def route(said: Json | None) -> list[Json]:
    made: Json = {"match": {"prefix": "/"}, "route": {"cluster": "up"}}
    if said is not None:
        wrapped = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", **said}
        made["typed_per_filter_config"] = {NAME: wrapped}
    return [made]


def case(id: str, said: Json | None, asked: bool, **fields: Any) -> Case:  # noqa: A002
    details = "health_check_ok" if asked else "via_upstream"
    return Case(id=id, hcm=chain(**fields), routes=route(said), send=[get("/")], status=200, details=details)


CASES = [
    case("on", None, True),
    case("on-off", {"disabled": True}, False),
    case("on-on", {"config": {}}, True),
    case("off", None, False, disabled=True),
    case("off-on", {"config": {}}, True, disabled=True),
    case("off-off", {"disabled": True, "config": {}}, False, disabled=True),
]


@pytest.mark.oracle
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.id))
def test_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
