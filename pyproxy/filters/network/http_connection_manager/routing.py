"""Which routes a connection manager has: a table of its own, one that comes (RDS, VHDS), or one for each scope.

Requests go on with the table that they began with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pyproxy import clock
from pyproxy.config.config_source import slot_of
from pyproxy.config.route import RouteTableConfig
from pyproxy.filters.network.http_connection_manager.config import HttpConnectionManagerConfig
from pyproxy.filters.network.http_connection_manager.late_routes import LateRoutes
from pyproxy.filters.network.http_connection_manager.request_headers import RequestPreparation
from pyproxy.filters.network.http_connection_manager.scopes import ScopedTables
from pyproxy.http.message import Request
from pyproxy.routes.route import Route
from pyproxy.routes.table import RouteTable
from pyproxy.runtime import Runtime
from pyproxy.telemetry.route_stats import RouteStats

_NO_ROUTES: Final = RouteTableConfig()
"""In force until routes have come: no request finds one (Envoy)."""


class Routing:
    """`prepare` is told of the headers that only requests from inside may carry."""

    def __init__(self, config: HttpConnectionManagerConfig, runtime: Runtime, prepare: RequestPreparation) -> None:
        self._runtime = runtime
        self._prepare = prepare
        self._stats = RouteStats(runtime.stats)
        self._suppress = config.suppress_envoy_headers
        self.table = self.make(config.route_table)
        self.scopes: Any = None
        self._forget_routes: Callable[[], None] | None = None
        rds = config.rds
        if rds is not None:
            self._forget_routes = self._follow(slot_of(rds.source, rds.route_config_name), self._on_routes)
        if config.scoped is not None:
            self.scopes = ScopedTables(config.scoped, runtime.scopes, self._follow, self.make)

    def make(self, routes: RouteTableConfig | None) -> RouteTable:
        return RouteTable(
            _NO_ROUTES if routes is None else routes,
            self._runtime.values,
            clock.rng,
            lambda name: self._runtime.clusters.get(name) is not None,
            suppress_envoy_headers=self._suppress,
        )

    def refresh(self) -> None:
        """Runtime values have changed; some of them are worked into conditions and weights."""
        self.table = self.make(self.table.config)
        if self.scopes is not None:
            self.scopes.refresh()

    def close(self) -> None:
        if self._forget_routes is not None:
            self._forget_routes()
        if self.scopes is not None:
            self.scopes.close()

    def table_of(self, request: Request) -> RouteTable:
        """The route table for a request."""
        table: RouteTable = self.table if self.scopes is None else self.scopes.of(request)
        return table

    def prepare_scope(self, request: Request) -> None:
        """The headers that the routes of its scope keep for requests from inside."""
        self._prepare.take_internal_only(self.table_of(request).internal_only_headers)

    def find(self, request: Request) -> Route | None:
        """Choose the route of a request, and write down which it is. Filters may ask for that again."""
        table = self.table if self.scopes is None else self.table_of(request)
        request.route = route = table.match(request)
        if route is not None:
            info = request.info
            info.route_name = route.name
            info.virtual_host = route.virtual_host
            info.route_metadata = route.metadata
            info.virtual_host_metadata = route.virtual_host_metadata
            if route.virtual_cluster is not None:
                info.virtual_cluster = route.virtual_cluster(request)
            if route.counted:
                named = None if route.virtual_cluster is None else info.virtual_cluster
                info.counted = self._stats.of(route.virtual_host, named, route.config.stat_prefix)
        return route

    def missing(self, request: Request) -> tuple[str, str, str] | None:
        """What to ask for, for a request that has no route: (of what kind, where, which); None where nothing helps."""
        slot = "" if self.scopes is None else self.scopes.late_slot(request)
        if slot:
            return "routes", slot, ""
        table = self.table_of(request).config
        if table.vhds is None:
            return None
        # Envoy asks for the host as it came, in lower case (VhdsSubscription::domainNameToAlias).
        host = request.authority.decode("latin-1").lower()
        return "virtual_host", slot_of(table.vhds, table.name), f"{table.name}/{host}"

    def _follow(self, slot: str, on_routes: Callable[[RouteTableConfig | None], None]) -> Callable[[], None]:
        return LateRoutes(self._runtime.routes, self._runtime.virtual_hosts, slot, on_routes).close

    def _on_routes(self, routes: RouteTableConfig | None) -> None:
        """They came, changed or went (RDS)."""
        self.table = self.make(routes)
        self._prepare.take_internal_only(self.table.internal_only_headers)
