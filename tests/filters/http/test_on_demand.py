"""on_demand: who has no route waits until somebody knows whether there is one."""

from __future__ import annotations

from typing import Any

from pyproxy.filters.http.on_demand import OnDemand
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo


class Routing:
    """Finds a route at the second look."""

    def __init__(self, missing: tuple[str, str, str] | None) -> None:
        self._missing = missing
        self.looked = 0

    def missing(self, request: Request) -> tuple[str, str, str] | None:
        return self._missing

    def find(self, request: Request) -> None:
        self.looked += 1
        request.route = "route"


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


def request(routing: Routing, route: Any = None) -> Request:
    made = Request(b"GET", b"/", b"a.test", Headers(), StreamInfo(0.0, 0.0, ConnectionInfo()))
    made.rerouting, made.route = routing, route
    return made


async def test_a_route_that_comes_is_taken() -> None:
    control, routing = Control(found=True), Routing(("virtual_host", "r", "r/a.test"))
    assert (await OnDemand(control.demand)(request(routing), last)).status == 200
    assert control.asked == [("virtual_host", "r", "r/a.test")]
    assert routing.looked == 1


async def test_where_there_is_none_nobody_looks_again() -> None:
    control, routing = Control(found=False), Routing(("routes", "r", ""))
    assert (await OnDemand(control.demand)(request(routing), last)).status == 404
    assert routing.looked == 0


async def test_nobody_is_asked_in_vain() -> None:
    control, routing = Control(found=True), Routing(None)
    assert (await OnDemand(control.demand)(request(routing), last)).status == 404
    assert (await OnDemand(control.demand)(request(routing, "known"), last)).status == 200
    assert control.asked == []
