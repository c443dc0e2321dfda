"""One virtual host: finds the route of a request among its own (envoy.config.route.v3.VirtualHost).

Nothing is built before the first request comes: a mesh has thousands of virtual hosts that a proxy never sees used.
"""

from __future__ import annotations

from collections.abc import Callable

from pyproxy.config.route import VirtualHostConfig
from pyproxy.http.message import Request
from pyproxy.http.predicates import RequestPredicate
from pyproxy.routes.conditions import build_condition
from pyproxy.routes.levels import Levels, TableContext
from pyproxy.routes.path_cache import PathCache
from pyproxy.routes.path_index import PathIndex
from pyproxy.routes.route import Route
from pyproxy.routes.tls_redirect import build_tls_redirect

Candidates = tuple[tuple[RequestPredicate | None, Route], ...]
"""Routes whose path fits, in order, each after what else it asks."""


class VirtualHost:
    """`find` gives the candidates for a path; those of recent paths are in `cache`, which may be read directly."""

    __slots__ = ("_conditions", "_index", "_levels", "_paths", "_routes", "_table", "cache", "config", "redirect")

    def __init__(self, config: VirtualHostConfig, table: TableContext, paths: PathCache[Candidates]) -> None:
        self.config = config
        self.cache: dict[bytes, Candidates] = {}
        self.redirect: Callable[[Request], Route | None] | None = build_tls_redirect(config, table)
        self._table = table
        self._paths = paths
        self._levels: Levels | None = None
        self._index: PathIndex | None = None
        self._conditions: list[RequestPredicate | None] = []
        self._routes: dict[int, Route] = {}

    def find(self, path: bytes) -> Candidates:
        """For a path without query."""
        index = self._index or self.prepare()
        conditions = self._conditions
        found = tuple([(conditions[place], self._route(place)) for place in index.find(path)])
        self._paths.keep(self.cache, path, found)
        return found

    def prepare(self) -> PathIndex:
        """Build what the first request would."""
        matches = [route.match for route in self.config.routes]
        values, rng = self._table.values, self._table.rng
        self._conditions = [build_condition(match, values, rng) for match in matches]
        self._index = PathIndex(matches, [condition is None for condition in self._conditions])
        return self._index

    def _route(self, place: int) -> Route:
        route = self._routes.get(place)
        if route is None:
            if self._levels is None:
                self._levels = Levels(self.config, self._table)
            route = self._routes[place] = Route(self.config.routes[place], self._levels)
        return route

    def __repr__(self) -> str:
        return f"<VirtualHost {self.config.name!r}, {len(self.config.routes)} routes, {len(self.cache)} paths known>"
