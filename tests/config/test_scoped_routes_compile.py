"""Scoped routes: which parts of a request make the key, and which table belongs to which."""

from __future__ import annotations

import pytest

from pyproxy.config.extensions import CompileContext
from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.scoped_routes import KeyFragment, ScopedRoutesConfig
from pyproxy.config.scoped_routes_compile import compile_scope, compile_scoped_routes
from pyproxy.filters.builtin import EXTENSIONS
from tests.config.compiling import problems, unread, view

SCOPED = "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes"
SCOPE = "envoy.config.route.v3.ScopedRouteConfiguration"
CONTEXT = CompileContext(EXTENSIONS)


def compiled(fragment: str, more: str = "scoped_rds: {scoped_rds_config_source: {ads: {}}}") -> ScopedRoutesConfig:
    seen = view(
        SCOPED,
        f"{{name: s, scope_key_builder: {{fragments: [{{header_value_extractor: {fragment}}}]}}, "
        f"rds_config_source: {{ads: {{}}}}, {more}}}",
    )
    made = compile_scoped_routes(seen, CONTEXT)
    assert not problems(seen), problems(seen)
    assert not unread(seen)
    return made


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("{name: Host, index: 0}", KeyFragment(b"host")),
        ("{name: x, element_separator: ',', index: 2}", KeyFragment(b"x", b",", 2)),
        (
            "{name: x, element_separator: ';', element: {separator: '=', key: k}}",
            KeyFragment(b"x", b";", 0, b"k", b"="),
        ),
    ],
)
def test_fragments_of_the_key(text: str, fragment: KeyFragment) -> None:
    made = compiled(text)
    assert made.fragments == (fragment,)
    assert made.source is not None
    assert made.locator == "*"


def test_without_a_separator_there_is_one_element() -> None:
    with pytest.raises(AssertionError, match="has to be 0 where no element_separator"):
        compiled("{name: x, index: 1}")


def test_scopes_in_the_listener_have_their_tables() -> None:
    inline = "{name: a, key: {fragments: [{string_key: k}]}, route_configuration: {name: r}}"
    made = compiled("{name: x}", f"scoped_route_configurations_list: {{scoped_route_configurations: [{inline}]}}")
    assert made.source is None
    (scope,) = made.scopes
    assert scope.key == (b"k",)
    assert scope.table is not None
    named = inline.replace("route_configuration: {name: r}", "route_configuration_name: r")
    with pytest.raises(AssertionError, match="is for scopes that come from elsewhere"):
        compiled("{name: x}", f"scoped_route_configurations_list: {{scoped_route_configurations: [{named}]}}")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("", "has to say which routes, once"),
        ("route_configuration_name: r, route_configuration: {name: r}", "has to say which routes, once"),
        ("on_demand: true, route_configuration: {name: r}", "is for routes that come from elsewhere"),
    ],
)
def test_what_a_scope_cannot_be(fields: str, reason: str) -> None:
    seen = view(SCOPE, f"{{name: a, key: {{fragments: [{{string_key: k}}]}}, {fields}}}")
    with pytest.raises(InvalidConfig, match=reason):
        compile_scope(seen, CONTEXT)
