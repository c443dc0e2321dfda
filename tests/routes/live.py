"""Live route tables made in one line."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from pyproxy.config.route import (
    Action,
    DirectResponseAction,
    PathKind,
    RouteConfig,
    RouteMatch,
    RouteTableConfig,
    VirtualHostConfig,
)
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.http.message import Request
from pyproxy.routes.route import Route
from pyproxy.routes.table import RouteTable
from tests.http.requests import make_request

P, E, S, R, T = PathKind.PREFIX, PathKind.EXACT, PathKind.SEPARATED_PREFIX, PathKind.REGEX, PathKind.TEMPLATE
OK = DirectResponseAction(200)
EVERYTHING = RouteMatch(P, "/")


def make_table(config: RouteTableConfig, seed: int = 1) -> RouteTable:
    return RouteTable(config, RuntimeValues(), random.Random(seed), lambda name: True)


def one_host(*matches: RouteMatch) -> RouteTable:
    routes = tuple(RouteConfig(match, OK, str(place)) for place, match in enumerate(matches))
    return make_table(RouteTableConfig(virtual_hosts=(VirtualHostConfig("v", ("*",), routes),)))


def hosts(*named: tuple[str, Sequence[str]], **fields: object) -> RouteTable:
    config = RouteTableConfig(
        virtual_hosts=tuple(
            VirtualHostConfig(name, tuple(domains), (RouteConfig(RouteMatch(PathKind.PREFIX, "/"), OK, name),))
            for name, domains in named
        ),
        **fields,  # type: ignore[arg-type]
    )
    return make_table(config)


def name_of(table: RouteTable, request: Request) -> str | None:
    route = table.match(request)
    return None if route is None else route.name


def one_route(
    action: Action,
    match: RouteMatch = EVERYTHING,
    *,
    route: dict[str, Any] | None = None,
    host: dict[str, Any] | None = None,
    table: dict[str, Any] | None = None,
    clusters: frozenset[str] = frozenset({"up", "other"}),
    values: RuntimeValues | None = None,
    suppress: bool = False,
) -> Route:
    """The live route of a table with only one."""
    routes = (RouteConfig(match, action, "r", **(route or {})),)
    config = RouteTableConfig(virtual_hosts=(VirtualHostConfig("v", ("*",), routes, **(host or {})),), **(table or {}))
    live = RouteTable(
        config, values or RuntimeValues(), random.Random(3), clusters.__contains__, suppress_envoy_headers=suppress
    )
    found = live.match(make_request(_matching(match)))
    assert found is not None
    return found


def _matching(match: RouteMatch) -> str:
    return {R: "/x/", T: "/a/1/2"}.get(match.kind, match.path)
