"""Compiles scoped routes: protobuf -> `config.scoped_routes` values.

Envoy: envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes,
envoy.config.route.v3.ScopedRouteConfiguration.
"""

from __future__ import annotations

from pyproxy.config.config_source_compile import compile_config_source
from pyproxy.config.extensions import CompileContext
from pyproxy.config.route_compile import compile_route_table
from pyproxy.config.scoped_routes import KeyFragment, ScopeConfig, ScopedRoutesConfig
from pyproxy.config.view import View


def compile_scoped_routes(view: View, context: CompileContext) -> ScopedRoutesConfig:
    """A `ScopedRoutes`."""
    fragments = view.need("scope_key_builder").each("fragments", _fragment)
    given = view.child("rds_config_source")
    source = None if given is None else compile_config_source(given, context)
    if view.oneof("config_specifier") == "scoped_route_configurations_list":
        found = view.need("scoped_route_configurations_list")
        scopes = found.each("scoped_route_configurations", lambda one: _inline_scope(one, context))
        return ScopedRoutesConfig(view.text("name"), fragments, source, scopes)
    rds = view.need("scoped_rds")
    return ScopedRoutesConfig(
        view.text("name"),
        fragments,
        source,
        source=compile_config_source(rds.need("scoped_rds_config_source"), context),
        locator=rds.text("srds_resources_locator") or "*",
    )


def compile_scope(view: View, context: CompileContext) -> ScopeConfig:
    """A `ScopedRouteConfiguration`."""
    table = view.child("route_configuration")
    routes = view.text("route_configuration_name")
    if bool(routes) == (table is not None):
        expected = "one of route_configuration_name and route_configuration"
        view.fail("route_configuration_name", "has to say which routes, once", expected=expected)
    if table is not None and view.scalar("on_demand"):
        view.fail("on_demand", "is for routes that come from elsewhere", expected="route_configuration_name")
    return ScopeConfig(
        name=view.text("name"),
        key=view.need("key").each("fragments", lambda one: one.text("string_key").encode()),
        routes=routes,
        table=None if table is None else compile_route_table(table, context, validate=False),
        on_demand=bool(view.scalar("on_demand")),
    )


def _inline_scope(view: View, context: CompileContext) -> ScopeConfig:
    if view.message.route_configuration_name:  # type: ignore[attr-defined]
        reason = "is for scopes that come from elsewhere themselves (Envoy)"
        view.fail("route_configuration_name", reason, expected="route_configuration")
    return compile_scope(view, context)


def _fragment(view: View) -> KeyFragment:
    extractor = view.need("header_value_extractor")
    header = extractor.text("name").lower().encode()
    cut = extractor.text("element_separator").encode()
    if extractor.oneof("extract_type") == "element":
        element = extractor.need("element")
        return KeyFragment(header, cut, 0, element.text("key").encode(), element.text("separator").encode())
    index = extractor.scalar("index")
    if index and not cut:
        extractor.fail("index", "has to be 0 where no element_separator cuts the value (Envoy)", expected="0")
    return KeyFragment(header, cut, index)
