"""on_demand: a request waits while what it needs is asked for: virtual hosts (VHDS), routes of its scope, its cluster.

Envoy: envoy.filters.http.on_demand. Security posture: who sends requests chooses the names that the control plane is
asked for, so it should stand behind filters that say who may do so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from pyproxy.config.config_source import OnDemandClustersConfig
from pyproxy.config.config_source_compile import compile_on_demand_clusters
from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.http.message import Request, Response
from pyproxy.runtime import Runtime

_ROUTES_SECONDS: Final = 300.0
"""Envoy waits for as long as the stream may be idle, which by default is as long."""


@dataclass(frozen=True, slots=True)
class OnDemandConfig:
    """Of the filter, or of a route. `clusters` None means that clusters are not asked for."""

    clusters: OnDemandClustersConfig | None = None
    reroutes: bool = True

    def build(self, runtime: Runtime) -> OnDemand:
        return OnDemand(self, runtime)


def compile(view: View, context: CompileContext) -> OnDemandConfig:  # noqa: A001 (the name that every filter has)
    """An `OnDemand`."""
    return _compiled(view, context)


def compile_route(view: View, context: CompileContext) -> OnDemandConfig:
    """A `PerRouteConfig`."""
    return _compiled(view, context)


def _compiled(view: View, context: CompileContext) -> OnDemandConfig:
    odcds = view.child("odcds")
    return OnDemandConfig() if odcds is None else OnDemandConfig(compile_on_demand_clusters(odcds, context))


class OnDemand:
    """Shared by all requests. `name` is what routes call it."""

    def __init__(self, config: OnDemandConfig, runtime: Runtime) -> None:
        self.name = ""
        self._config = config
        self._demand = runtime.demand
        self._clusters = runtime.clusters

    async def __call__(self, request: Request, next: Callable[[Request], Awaitable[Response]]) -> Response:  # noqa: A002
        if request.route is None:
            missing = request.rerouting.missing(request)
            if missing is not None:
                kind, where, name = missing
                if await self._demand(kind, where, name, _ROUTES_SECONDS):
                    request.rerouting.find(request)
        route = request.route
        if route is not None and route.answer is None:
            await self._wait_for_cluster(request)
        return await next(request)

    async def _wait_for_cluster(self, request: Request) -> None:
        """If it does not come in time the router says that it is not there."""
        route: Any = request.route
        override = route.filter_config(self.name)
        config = self._config if override is None or override.config is None else override.config
        if config.clusters is None:
            return
        target = route.resolve(request)
        name = target.cluster or target.unknown
        if name and self._clusters.get(name) is None:
            found = await self._demand("cluster", config.clusters.spec, name, config.clusters.timeout)
            if found:
                request.rerouting.find(request)
