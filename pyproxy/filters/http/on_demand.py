"""on_demand: a request waits while what it needs is asked for: virtual hosts (VHDS), routes of its scope, its cluster.

Envoy: envoy.filters.http.on_demand. Security posture: who sends requests chooses the names that the control plane is
asked for, so it should stand behind filters that say who may do so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.http.message import Request, Response
from pyproxy.runtime import Demand, Runtime

_ROUTES_SECONDS: Final = 300.0
"""Envoy waits for as long as the stream may be idle, which by default is as long."""


@dataclass(frozen=True, slots=True)
class OnDemandConfig:
    """Of the filter."""

    reroutes: bool = True

    def build(self, runtime: Runtime) -> OnDemand:
        return OnDemand(runtime.demand)


def compile(view: View, context: CompileContext) -> OnDemandConfig:  # noqa: A001 (the name that every filter has)
    """An `OnDemand`."""
    del context
    if view.has("odcds"):
        view.fail("odcds", "clusters on demand are not supported yet")
    return OnDemandConfig()


class OnDemand:
    """Shared by all requests."""

    def __init__(self, demand: Demand) -> None:
        self._demand = demand

    async def __call__(self, request: Request, next: Callable[[Request], Awaitable[Response]]) -> Response:  # noqa: A002
        if request.route is None:
            missing = request.rerouting.missing(request)
            if missing is not None:
                kind, where, name = missing
                if await self._demand(kind, where, name, _ROUTES_SECONDS):
                    request.rerouting.find(request)
        return await next(request)
