"""Extensions are found by type, and a filter says what the chain may be."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.extensions import Category, CompileContext, Extension, Extensions, compile_filter, compile_overrides
from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.listener import FilterConfig
from pyproxy.config.route import FilterOverride
from pyproxy.config.view import View
from tests.config.compiling import URL, as_yaml, problems, unread, view

LOCALITY = "envoy.config.core.v3.Locality"
CIDR = "envoy.config.core.v3.CidrRange"
HTTP_FILTER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
WRAPPER = f"{URL}envoy.config.route.v3.FilterConfig"

# A filter that is configured by a Locality, and for routes by a CidrRange. This module compiles it.
OWN = Extension("test.own", LOCALITY, Category.HTTP_FILTER, __name__, route_type=CIDR)
CONTEXT = CompileContext(Extensions((OWN,)), frozenset(f"cluster-{at}" for at in range(100)))


def compile(seen: View, context: CompileContext) -> str:  # noqa: A001
    return seen.text("zone")


def compile_route(seen: View, context: CompileContext) -> str:
    return seen.text("address_prefix")


def filtered(**fields: Any) -> FilterConfig | None:
    whole = {"name": "any name", "typed_config": {"@type": URL + LOCALITY, "zone": "z"}, **fields}
    seen = view(HTTP_FILTER, as_yaml({key: value for key, value in whole.items() if value is not None}))
    found = compile_filter(seen, CONTEXT, Category.HTTP_FILTER)
    assert unread(seen) == []
    return None if found is None else found[0]


def test_a_filter_is_found_by_its_type() -> None:
    assert filtered() == FilterConfig("any name", LOCALITY, "z")
    assert filtered(disabled=True) == FilterConfig("any name", LOCALITY, "z", disabled=True)


@pytest.mark.parametrize("type_url", [f"{URL}xds.type.v3.TypedStruct", f"{URL}udpa.type.v1.TypedStruct"])
def test_a_struct_may_stand_for_the_message(type_url: str) -> None:
    struct = {"@type": type_url, "type_url": URL + LOCALITY, "value": {"zone": "w"}}
    assert filtered(typed_config=struct) == FilterConfig("any name", LOCALITY, "w")


def test_an_optional_filter_may_be_unknown() -> None:
    assert filtered(typed_config={"@type": URL + CIDR, "address_prefix": "x"}, is_optional=True) is None


def test_a_name_alone_is_refused_with_the_type_that_is_meant() -> None:
    with pytest.raises(InvalidConfig) as raised:
        filtered(name="test.own", typed_config=None)
    (fault,) = raised.value.faults
    assert "a name alone chooses nothing" in fault.reason
    assert fault.nearest == URL + LOCALITY


def overridden(config: dict[str, Any]) -> tuple[dict[str, FilterOverride], list[str]]:
    seen = view("envoy.config.route.v3.Route", as_yaml({"typed_per_filter_config": {"f": config}}))
    return dict(compile_overrides(seen, CONTEXT)), problems(seen)


@pytest.mark.parametrize(
    ("config", "override"),
    [
        ({"@type": URL + CIDR, "address_prefix": "x"}, {"f": FilterOverride("x")}),
        ({"@type": WRAPPER, "config": {"@type": URL + CIDR, "address_prefix": "x"}}, {"f": FilterOverride("x")}),
        ({"@type": WRAPPER, "disabled": True}, {"f": FilterOverride(disabled=True)}),
        ({"@type": WRAPPER, "config": {}}, {"f": FilterOverride()}),
        (
            {"@type": WRAPPER, "disabled": True, "config": {"@type": URL + LOCALITY}},
            {"f": FilterOverride(disabled=True)},
        ),
        ({"@type": WRAPPER, "is_optional": True, "config": {"@type": f"{URL}envoy.config.core.v3.Node"}}, {}),
    ],
)
def test_routes_say_something_of_a_filter(config: dict[str, Any], override: dict[str, FilterOverride]) -> None:
    assert overridden(config) == (override, [])


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"@type": WRAPPER}, "is empty for the filter 'f'"),
        ({"@type": URL + LOCALITY}, "the filter 'f' takes no configuration for routes"),
        ({"@type": f"{URL}envoy.config.core.v3.Node"}, "envoy.config.core.v3.Node does not configure a filter"),
    ],
)
def test_what_cannot_be_said_of_a_filter(config: dict[str, Any], reason: str) -> None:
    ((), (fault,)) = (tuple(overridden(config)[0]), overridden(config)[1])
    assert fault.startswith("typed_per_filter_config.f")
    assert reason in fault


def test_suggestions_for_clusters_are_bounded() -> None:
    """Each compares a name with all others; a table of thousands of routes may be wrong as a whole."""
    seen = view("envoy.config.route.v3.RouteAction", "cluster: x")
    nearest = []
    for at in range(50):
        with pytest.raises(InvalidConfig) as raised:
            CONTEXT.check_cluster(seen, "cluster", f"clutser-{at}")
        nearest.append(raised.value.faults[0].nearest)
    assert nearest[0] == "cluster-0"
    assert nearest[-1] == ""
