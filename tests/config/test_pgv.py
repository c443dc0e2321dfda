"""The rules that the API carries: which messages break them, where, and what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config import descriptors
from pyproxy.config.descriptors import message_class, pool
from pyproxy.config.fill import Filling
from pyproxy.config.pgv import plan_of, validate

CLUSTER = "envoy.config.cluster.v3.Cluster"
HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE"
POLICIES = "ROUND_ROBIN, LEAST_REQUEST, RING_HASH, RANDOM, MAGLEV, CLUSTER_PROVIDED, LOAD_BALANCING_POLICY_CONFIG"
SPECIFIERS = "prefix, path, safe_regex, connect_matcher, path_separated_prefix, path_match_policy"
TYPED_STRUCT = "type.googleapis.com/xds.type.v3.TypedStruct"


def faults(type_name: str, value: dict[str, Any]) -> list[str]:
    message = message_class(type_name)()
    filling = Filling()
    filling.fields(message, value, ())
    assert filling.faults == []
    return [str(fault) for fault in validate(message)]


def cluster(**fields: Any) -> list[str]:
    return faults(CLUSTER, {"name": "a", **fields})


def virtual_host(**fields: Any) -> list[str]:
    return faults("envoy.config.route.v3.VirtualHost", {"name": "v", "domains": ["*"], **fields})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (faults(CLUSTER, {}), ["name: is missing; expected text that is not empty"]),
        (cluster(connect_timeout="0s"), ["connect_timeout: is 0s; expected a value greater than 0s"]),
        (cluster(connect_timeout="-1.5s"), ["connect_timeout: is -1.5s; expected a duration that is not negative"]),
        (cluster(cleanup_interval="-1s"), ["cleanup_interval: is -1s; expected a duration that is not negative"]),
        (
            cluster(connect_timeout="9223372036s"),
            ["connect_timeout: is 9223372036s; expected a duration of at most 9223372035s"],
        ),
        (cluster(dns_refresh_rate="0.0005s"), ["dns_refresh_rate: is 0.0005s; expected a value greater than 0.001s"]),
        (
            cluster(lb_policy=99),
            [f"lb_policy: is 99; expected one of {POLICIES}"],
        ),
        (
            cluster(common_lb_config={"healthy_panic_threshold": {"value": 101}}),
            ["common_lb_config.healthy_panic_threshold.value: is 101.0; expected a value at most 100"],
        ),
        (
            cluster(
                max_requests_per_connection=5,
                lb_subset_config={"subset_selectors": []},
                metadata={"filter_metadata": {"": {}}},
            ),
            ["metadata.filter_metadata[\"\"]: is ''; expected text that is not empty"],
        ),
        (
            faults("envoy.config.route.v3.VirtualHost", {"name": "v"}),
            ["domains: is empty; expected at least 1 element"],
        ),
        (
            virtual_host(request_headers_to_remove=["x", "a\nb"]),
            ["request_headers_to_remove[1]: is 'a\\nb'; expected text without NUL, CR and LF"],
        ),
        (
            virtual_host(request_headers_to_add=[{"append_action": 1}]),
            ["request_headers_to_add[0].header: is missing"],
        ),
        (
            virtual_host(routes=[{"match": {}, "route": {"cluster": "a"}}]),
            [f"routes[0].match: has no path specifier; expected one of {SPECIFIERS}"],
        ),
        (
            virtual_host(routes=[{"match": {"path_separated_prefix": "/a/"}, "route": {"cluster": "a"}}]),
            ["routes[0].match.path_separated_prefix: is '/a/'; expected text that matches ^[^?#]+[^?#/]$"],
        ),
        (
            virtual_host(routes=[{"match": {"prefix": "/"}, "direct_response": {"status": 99}}]),
            ["routes[0].direct_response.status: is 99; expected a value at least 200"],
        ),
        (
            faults("envoy.config.core.v3.SocketAddress", {"address": "a", "port_value": 65536}),
            ["port_value: is 65536; expected a value at most 65535"],
        ),
        (
            faults("envoy.config.core.v3.HttpUri", {"uri": "a", "cluster": "b"}),
            ["timeout: is missing"],
        ),
        (
            faults("envoy.config.route.v3.RateLimit.Action", {"dynamic_metadata": {"descriptor_key": "a"}}),
            ["dynamic_metadata: is a field that Envoy no longer takes; expected its successor"],
        ),
        (
            faults("envoy.config.route.v3.InternalRedirectPolicy", {"response_headers_to_copy": ["a", "a"]}),
            ["response_headers_to_copy: has an element twice; expected each element once"],
        ),
        (
            faults("envoy.config.accesslog.v3.ResponseFlagFilter", {"flags": ["UH", "XX"]}),
            ["flags[1]: is 'XX'; expected one of LH, UH, UT, LR, UR, UF, UC, UO, NR, DI, FI, RL, ..."],
        ),
        (
            faults("envoy.config.core.v3.HealthCheck.HttpHealthCheck", {"path": "/", "method": 6}),
            [f"method: is CONNECT; expected one of METHOD_UNSPECIFIED, {METHODS}, PATCH"],
        ),
    ],
)
def test_violations(found: list[str], expected: list[str]) -> None:
    assert found == expected


@pytest.mark.parametrize(
    "found",
    [
        cluster(connect_timeout="9223372035.999999999s"),
        cluster(load_assignment={"cluster_name": "a"}),
        virtual_host(routes=[{"match": {"prefix": ""}, "route": {"cluster": "a"}}]),
        faults("envoy.config.core.v3.SocketAddress", {"address": "a", "port_value": 0}),
        faults("envoy.config.core.v3.KeyValueAppend", {"entry": {"key": ""}}),
    ],
)
def test_what_is_right(found: list[str]) -> None:
    assert found == []


def test_the_rules_are_enforced_inside_an_any() -> None:
    chain = {"filters": [{"name": "h", "typed_config": {"@type": f"type.googleapis.com/{HCM}", "route_config": {}}}]}
    assert faults("envoy.config.listener.v3.FilterChain", chain) == [
        "filters[0].typed_config.stat_prefix: is missing; expected text that is not empty"
    ]


def test_the_rules_are_enforced_inside_a_typed_struct() -> None:
    struct = {"stat_prefix": "", "route_config": {"virtual_hosts": [{"name": "v"}]}}
    config = {"@type": TYPED_STRUCT, "type_url": f"type.googleapis.com/{HCM}", "value": struct}
    assert faults("envoy.config.listener.v3.FilterChain", {"filters": [{"name": "h", "typed_config": config}]}) == [
        "filters[0].typed_config.route_config.virtual_hosts[0].domains: is empty; expected at least 1 element",
        "filters[0].typed_config.stat_prefix: is missing; expected text that is not empty",
    ]


def test_a_typed_struct_that_does_not_fit_tells_its_fields() -> None:
    config = {
        "@type": TYPED_STRUCT,
        "type_url": f"type.googleapis.com/{HCM}",
        "value": {"stat_prefx": "a", "codec_type": "X"},
    }
    found = faults("envoy.config.listener.v3.Filter", {"name": "h", "typed_config": config})
    assert [fault.partition(":")[0] for fault in sorted(found)] == [
        "typed_config.codec_type",
        "typed_config.stat_prefx",
    ]
    assert max(found).endswith("did you mean 'stat_prefix'?")


def test_a_struct_of_an_unknown_type_is_no_fault_here() -> None:
    config = {"@type": TYPED_STRUCT, "type_url": "type.googleapis.com/foo.Bar", "value": {"a": 1}}
    assert faults("envoy.config.listener.v3.Filter", {"name": "h", "typed_config": config}) == []


def test_types_without_rules_are_not_walked() -> None:
    assert plan_of(pool().FindMessageTypeByName("google.protobuf.Struct")) is None
    assert plan_of(pool().FindMessageTypeByName("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")) is None


def test_every_rule_in_the_descriptors_is_known() -> None:
    """A plan refuses rules of a kind that it cannot enforce, so making all of them is the proof."""
    waiting = [pool().FindMessageTypeByName(name) for name in every_type()]
    plans = [plan for plan in map(plan_of, waiting) if plan is not None]
    assert len(plans) > 600
    assert sum(len(plan.oneofs) for plan in plans) > 100


def every_type() -> list[str]:
    names = []

    def visit(descriptor: Any) -> None:
        names.append(descriptor.full_name)
        for nested in descriptor.nested_types:
            visit(nested)

    for name in descriptors._type_names():
        visit(pool().FindMessageTypeByName(name.removeprefix(".")))
    return names
