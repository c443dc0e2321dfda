"""Route tables that are chosen by a key out of each request, as values. Envoy: ScopedRoutes, ScopedRouteConfiguration.

The compile functions are in `config.scoped_routes_compile`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy.config.config_source import ConfigSourceConfig
from pyproxy.config.route import RouteTableConfig


@dataclass(frozen=True, slots=True)
class KeyFragment:
    """One part of the key, out of a header (`HeaderValueExtractor`).

    The value is cut at `element_separator`, if there is one; then it is the element at `index`, or what follows
    `separator` in the first element that begins with `key`.
    """

    header: bytes
    element_separator: bytes = b""
    index: int = 0
    key: bytes | None = None
    separator: bytes = b""


@dataclass(frozen=True, slots=True)
class ScopeConfig:
    """A `ScopedRouteConfiguration`: which table for which key. It is `table`, or comes by RDS as `routes`."""

    name: str
    key: tuple[bytes, ...]
    routes: str = ""
    table: RouteTableConfig | None = None
    on_demand: bool = False
    """Its routes are only asked for when a request needs them."""


@dataclass(frozen=True, slots=True)
class ScopedRoutesConfig:
    """`ScopedRoutes` of a connection manager: the scopes are `scopes`, or come from `source` (SRDS)."""

    name: str
    fragments: tuple[KeyFragment, ...]
    routes_source: ConfigSourceConfig | None = None
    """Where tables that are named come from."""
    scopes: tuple[ScopeConfig, ...] = ()
    source: ConfigSourceConfig | None = None
    locator: str = "*"
    """What is asked for: everything, or an `xdstp://` collection."""
