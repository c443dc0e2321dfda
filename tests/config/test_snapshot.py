"""Whole bootstraps: every fault in one run, and what is not honoured."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from pyproxy.config.address import AddressConfig
from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.invalid import render_path
from pyproxy.config.stats import StatsConfig
from tests.config.compiling import ROUTER, URL, bootstrap, cluster, compiled, listener, manager

FORWARD = {"match": {"prefix": "/"}, "route": {"cluster": "a"}}


def listed(config: dict[str, Any]) -> list[tuple[str, bool]]:
    values, faults, report = compiled(config)
    assert faults == []
    assert values is not None
    return [(render_path(one.path), one.severe) for one in report.unhonoured]


def test_an_empty_bootstrap_is_fine() -> None:
    values, faults, _ = compiled("{}")
    assert faults == []
    assert values is not None
    assert (values.listeners, values.clusters, values.admin) == ((), (), None)


def test_a_bootstrap_becomes_values() -> None:
    config = bootstrap(
        [listener(config=manager([FORWARD]))],
        node={
            "id": "n",
            "cluster": "c",
            "locality": {"region": "r", "zone": "z"},
            "metadata": {"k": ["v"]},
            "user_agent_name": "x",
        },
        admin={
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}},
            "access_log_path": "/dev/null",
        },
        layered_runtime={"layers": [{"name": "a", "static_layer": {"x": {"y": 1}}}, {"name": "b", "admin_layer": {}}]},
        stats_flush_interval="1s",
        stats_config={"use_all_default_tags": True, "stats_tags": [{"tag_name": "t", "fixed_value": "v"}]},
    )
    values, faults, report = compiled(config)
    assert faults == []
    assert values is not None
    assert [render_path(one.path) for one in report.unhonoured] == ["admin.access_log_path"]
    assert values.node == NodeConfig("n", "c", "r", "z", "", {"k": ["v"]})
    assert values.admin is not None
    assert values.admin.address == AddressConfig("127.0.0.1", 9901)
    assert [log.path for log in values.admin.access_logs] == ["/dev/null"]
    assert values.runtime_layers == ({"x": {"y": 1}}, {})
    assert values.stats == StatsConfig(1.0, (("t", "v"),))
    assert [one.name for one in (*values.listeners, *values.clusters)] == ["l", "a"]


def test_equal_bootstraps_are_equal_values() -> None:
    config = bootstrap([listener(config=manager([FORWARD]))])
    first, second = compiled(config)[0], compiled(config)[0]
    assert first is not None
    assert second is not None
    assert first == second
    assert hash(first.listeners) == hash(second.listeners)
    assert hash(first.clusters) == hash(second.clusters)


def test_every_fault_is_found_in_one_run() -> None:
    config = bootstrap(
        [
            listener("one", manager([{**FORWARD, "route": {"cluster": "aaa"}}], http_filters=[{"name": "r"}])),
            listener("two", manager([{"match": {"safe_regex": {"regex": "("}}, "route": {"cluster": "faulty"}}])),
            listener("two", manager(codec_type="HTTP3")),
        ],
        [cluster(), cluster(), cluster("faulty", lb_policy="CLUSTER_PROVIDED")],
        admin={"address": {"socket_address": {"address": "127.0.0.1", "port_value": 1, "protocol": "UDP"}}},
        layered_runtime={"layers": [{"name": "a", "admin_layer": {}}, {"name": "a", "static_layer": {}}]},
    )
    values, faults, _ = compiled(config)
    assert values is None
    where = [fault.split(": ")[0] for fault in faults]
    at = "static_resources.listeners"
    hcm = "filter_chains[0].filters[0].typed_config"
    expected = [
        "static_resources.clusters[1].name",
        "static_resources.clusters[2].lb_policy",
        f"{at}[2].name",
        f"{at}[0].{hcm}.route_config.virtual_hosts[0].routes[0].route.cluster",
        f"{at}[0].{hcm}.http_filters[0].typed_config",
        f"{at}[1].{hcm}.route_config.virtual_hosts[0].routes[0].match.safe_regex.regex",
        f"{at}[2].{hcm}.codec_type",
        "admin.address.socket_address.protocol",
        "layered_runtime.layers[1].name",
    ]
    assert [one for one in expected if one not in where] == []


def test_resources_from_a_stream_that_there_is_not_are_refused() -> None:
    _, faults, _ = compiled(bootstrap(dynamic_resources={"lds_config": {"ads": {}}}))
    assert ["lds_config: says ads, and there is no ads_config" in fault for fault in faults] == [True]
    assert compiled(bootstrap(dynamic_resources={}))[1] == []


def test_two_listeners_cannot_have_one_address() -> None:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 34567}}
    _, faults, _ = compiled(bootstrap([listener("x", address=address), listener("y", address=address)]))
    (fault,) = faults
    assert "the listeners 'x' and 'y' have the address 127.0.0.1:34567" in fault


def test_listeners_without_names_get_names_of_their_own() -> None:
    values, _, _ = compiled(bootstrap([listener(""), listener("")]))
    assert values is not None
    assert [one.name for one in values.listeners] == ["127.0.0.1:0", "127.0.0.1:0#2"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"stats_sinks": [{"name": "x"}]}, [("stats_sinks[0].name", False)]),
        ({"hds_config": {"set_node_on_first_message_only": True}}, [("hds_config", True)]),
        ({"header_prefix": "x-other"}, [("header_prefix", True)]),
        ({"enable_dispatcher_stats": True, "node_context_params": ["x"]}, []),
        ({"cluster_manager": {"enable_deferred_cluster_creation": True}}, []),
        ({"cluster_manager": {"upstream_bind_config": {}}}, []),
    ],
)
def test_what_is_not_honoured_is_listed(fields: dict[str, Any], expected: list[tuple[str, bool]]) -> None:
    found = listed(bootstrap(**fields))
    assert [one for one in expected if one not in found] == []
    assert bool(found) is bool(expected)


def test_fields_of_a_message_that_was_left_at_a_fault_are_not_listed() -> None:
    """They were not looked at, which does not make them not honoured."""
    config = bootstrap([listener(internal_listener={}, enable_mptcp=True), listener("m", enable_mptcp=True)])
    _, faults, report = compiled(config)
    assert len(faults) == 1
    assert [render_path(one.path) for one in report.unhonoured] == ["static_resources.listeners[1].enable_mptcp"]


def test_an_optional_filter_that_is_not_known_is_left_out() -> None:
    unknown = {"name": "u", "typed_config": {"@type": f"{URL}envoy.config.core.v3.Locality"}, "is_optional": True}
    values, faults, _ = compiled(bootstrap([listener(config=manager(http_filters=[unknown, ROUTER]))]))
    assert faults == []
    assert values is not None
    filters = values.listeners[0].filter_chains[0].filters[0].config.filters
    assert [one.name for one in filters] == ["envoy.filters.http.router"]


def test_compiling_leaves_the_collector_as_it_was() -> None:
    assert gc.isenabled()
    compiled("{}")
    assert gc.isenabled()
