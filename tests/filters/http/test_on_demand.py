"""on_demand: who has no route waits until somebody knows whether there is one."""

from __future__ import annotations

from typing import Any

from pyproxy.config.config_source import OnDemandClustersConfig
from pyproxy.config.route import FilterOverride
from pyproxy.filters.http.on_demand import OnDemand, OnDemandConfig
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo

ROUTES_ONLY = OnDemandConfig()
CLUSTERS = OnDemandConfig(OnDemandClustersConfig("spec", 5.0))


class Routing:
    """Finds a route at the second look."""

    def __init__(self, missing: tuple[str, str, str] | None, route: Any = None) -> None:
        self._missing = missing
        self._route = route or To("known")
        self.looked = 0

    def missing(self, request: Request) -> tuple[str, str, str] | None:
        return self._missing

    def find(self, request: Request) -> None:
        self.looked += 1
        request.route = self._route


class Control:
    """Answers what is asked for."""

    def __init__(self, *, found: bool) -> None:
        self._found = found
        self.asked: list[tuple[str, str, str]] = []

    async def demand(self, kind: str, where: str, name: str, seconds: float) -> bool:
        self.asked.append((kind, where, name))
        return self._found


async def last(request: Request) -> Response:
    return Response(200 if request.route else 404, Headers())


class Clusters:
    """There is one called `known`."""

    def get(self, name: str) -> object | None:
        return self if name == "known" else None


class To:
    """A route to a cluster."""

    answer = None
    unknown = ""

    def __init__(self, cluster: str, override: OnDemandConfig | None = None) -> None:
        self.cluster = cluster
        self._override = override

    def resolve(self, request: Request) -> To:
        return self

    def filter_config(self, name: str) -> FilterOverride | None:
        return None if self._override is None or name != "od" else FilterOverride(self._override)


class Services:
    def __init__(self, control: Control) -> None:
        self.demand = control.demand
        self.clusters = Clusters()


def on_demand(control: Control, config: OnDemandConfig = ROUTES_ONLY) -> OnDemand:
    runtime: Any = Services(control)
    made = OnDemand(config, runtime)
    made.name = "od"
    return made


def request(routing: Routing, route: Any = None) -> Request:
    made = Request(b"GET", b"/", b"a.test", Headers(), StreamInfo(0.0, 0.0, ConnectionInfo()))
    made.rerouting, made.route = routing, route
    return made


async def test_a_route_that_comes_is_taken() -> None:
    control, routing = Control(found=True), Routing(("virtual_host", "r", "r/a.test"))
    assert (await on_demand(control)(request(routing), last)).status == 200
    assert control.asked == [("virtual_host", "r", "r/a.test")]
    assert routing.looked == 1


async def test_where_there_is_none_nobody_looks_again() -> None:
    control, routing = Control(found=False), Routing(("routes", "r", ""))
    assert (await on_demand(control)(request(routing), last)).status == 404
    assert routing.looked == 0


async def test_nobody_is_asked_in_vain() -> None:
    control, routing = Control(found=True), Routing(None)
    assert (await on_demand(control)(request(routing), last)).status == 404
    assert (await on_demand(control)(request(routing, To("late")), last)).status == 200
    assert (await on_demand(control, CLUSTERS)(request(routing, To("known")), last)).status == 200
    assert (await on_demand(control, CLUSTERS)(request(routing, To("")), last)).status == 200
    assert (await on_demand(control, CLUSTERS)(request(routing, To("late", OnDemandConfig())), last)).status == 200
    assert control.asked == []


async def test_a_cluster_is_asked_for() -> None:
    control, routing = Control(found=True), Routing(None)
    assert (await on_demand(control, CLUSTERS)(request(routing, To("late")), last)).status == 200
    assert (await on_demand(control)(request(routing, To("late", CLUSTERS)), last)).status == 200
    assert control.asked == [("cluster", "spec", "late")] * 2
    assert routing.looked == 2


async def test_after_the_cluster_the_route_may_be_another() -> None:
    control, routing = Control(found=True), Routing(("virtual_host", "r", "r/a.test"), To("late"))
    assert (await on_demand(control, CLUSTERS)(request(routing), last)).status == 200
    assert [kind for kind, _, _ in control.asked] == ["virtual_host", "cluster"]
