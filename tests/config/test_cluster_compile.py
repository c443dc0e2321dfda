"""Clusters as values."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.address import AddressConfig
from pyproxy.config.cluster import (
    ClusterConfig,
    DiscoveryType,
    EndpointConfig,
    LbPolicy,
    Thresholds,
    UpstreamHttpOptions,
)
from pyproxy.config.cluster_compile import compile_cluster
from pyproxy.config.dns import CaresConfig, DnsConfig, SystemResolverConfig
from pyproxy.config.extensions import CompileContext
from pyproxy.filters.builtin import EXTENSIONS
from tests.config.compiling import URL, as_yaml, assignment, cluster, host, problems, unread, view

CLUSTER = "envoy.config.cluster.v3.Cluster"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
BALANCERS = f"{URL}envoy.extensions.load_balancing_policies"
AGGREGATE = f"{URL}envoy.extensions.clusters.aggregate.v3.ClusterConfig"
DNS = f"{URL}envoy.extensions.clusters.dns.v3.DnsCluster"


def compiled(**fields: Any) -> tuple[ClusterConfig, list[str], list[str]]:
    seen = view(CLUSTER, as_yaml(cluster(**fields)))
    value = compile_cluster(seen, CompileContext(EXTENSIONS))
    return value, problems(seen), unread(seen)


ONE = (EndpointConfig(AddressConfig("127.0.0.1", 1)),)
NAMED = {"load_assignment": assignment(host("localhost", 80))}


def test_a_bare_cluster_has_envoys_defaults() -> None:
    value, faults, listed = compiled()
    assert value == ClusterConfig("a", endpoints=ONE)
    assert (value.connect_timeout, value.buffer_limit, value.thresholds[1].max_retries) == (5.0, 1048576, 3)
    assert (faults, listed) == ([], [])


def explicit(**fields: Any) -> dict[str, Any]:
    config = {"@type": f"{URL}{OPTIONS}", "explicit_http_config": {"http_protocol_options": {}}, **fields}
    return {"typed_extension_protocol_options": {OPTIONS: config}}


def resolved_by(package: str, name: str, **fields: Any) -> dict[str, Any]:
    typed = {"@type": f"{URL}envoy.extensions.network.dns_resolver.{package}.v3.{name}DnsResolverConfig", **fields}
    return {"type": "STRICT_DNS", "typed_dns_resolver_config": {"name": "r", "typed_config": typed}, **NAMED}


def server(host: str, port: int, **fields: Any) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port, **fields}}


TLS: dict[str, Any] = {
    "transport_socket": {
        "name": "tls",
        "typed_config": {"@type": f"{URL}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"},
    }
}


def balanced(*policies: dict[str, Any]) -> dict[str, Any]:
    entries = [{"typed_extension_config": {"name": "x", "typed_config": one}} for one in policies]
    return {"load_balancing_policy": {"policies": entries}}


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"connect_timeout": "0.25s", "alt_stat_name": "z"}, {"connect_timeout": 0.25, "alt_stat_name": "z"}),
        ({"per_connection_buffer_limit_bytes": 32768}, {"buffer_limit": 32768}),
        ({"lb_policy": "RANDOM"}, {"lb_policy": LbPolicy.RANDOM}),
        ({"lb_policy": "LEAST_REQUEST"}, {"lb_policy": LbPolicy.LEAST_REQUEST}),
        (
            {
                "lb_policy": "LEAST_REQUEST",
                "least_request_lb_config": {"choice_count": 3, "active_request_bias": {"default_value": 0.5}},
            },
            {"lb_policy": LbPolicy.LEAST_REQUEST, "least_request_choices": 3, "least_request_bias": 0.5},
        ),
        (
            {"lb_policy": "RING_HASH", **balanced({"@type": f"{BALANCERS}.random.v3.Random"})},
            {"lb_policy": LbPolicy.RANDOM},
        ),
        (
            balanced({"@type": f"{BALANCERS}.least_request.v3.LeastRequest", "choice_count": 4}),
            {"lb_policy": LbPolicy.LEAST_REQUEST, "least_request_choices": 4},
        ),
        (
            {
                "circuit_breakers": {
                    "thresholds": [
                        {"max_requests": 1},
                        {"max_requests": 2},
                        {"priority": "HIGH", "max_connections": 3, "track_remaining": True},
                    ]
                }
            },
            {"thresholds": (Thresholds(max_requests=1), Thresholds(max_connections=3, track_remaining=True))},
        ),
        (
            explicit(
                explicit_http_config={
                    "http_protocol_options": {"enable_trailers": True, "header_key_format": {"proper_case_words": {}}}
                },
                common_http_protocol_options={
                    "idle_timeout": "5s",
                    "max_connection_duration": "6s",
                    "max_stream_duration": "10s",
                    "max_requests_per_connection": 7,
                    "max_headers_count": 8,
                    "max_response_headers_kb": 9,
                },
            ),
            {"http": UpstreamHttpOptions(5.0, 6.0, 7, 8, 9, "proper", True, 10.0)},
        ),
        (
            {
                "common_http_protocol_options": {"idle_timeout": "0s"},
                "http_protocol_options": {"enable_trailers": True},
                "max_requests_per_connection": 2,
            },
            {"http": UpstreamHttpOptions(idle_timeout=0.0, enable_trailers=True, max_requests_per_connection=2)},
        ),
        # The extension replaces all the older fields.
        ({**explicit(), "common_http_protocol_options": {"idle_timeout": "1s"}}, {}),
        (
            {"upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 10, "keepalive_probes": 3}}},
            {"tcp_keepalive": (3, 10, 0)},
        ),
        ({"upstream_connection_options": {"tcp_keepalive": {}}}, {"tcp_keepalive": (0, 0, 0)}),
        (
            {
                "upstream_connection_options": {
                    "happy_eyeballs_config": {"first_address_family_version": "V6", "first_address_family_count": 2}
                }
            },
            {"happy_eyeballs": (6, 2)},
        ),
        ({"preconnect_policy": {"per_upstream_preconnect_ratio": 1.5}}, {"preconnect_ratio": 1.5}),
        ({"common_lb_config": {"healthy_panic_threshold": {"value": 0}}}, {"panic_threshold": 0.0}),
        ({"metadata": {"filter_metadata": {"ns": {"a": 2}}}}, {"metadata": {"ns": {"a": 2}}}),
        ({"type": None}, {}),
        ({"type": None, "cluster_type": {"name": "envoy.cluster.static"}}, {}),
        (
            {
                "type": None,
                "load_assignment": None,
                "lb_policy": "CLUSTER_PROVIDED",
                "cluster_type": {"name": "a", "typed_config": {"@type": AGGREGATE, "clusters": ["b", "c"]}},
            },
            {
                "discovery": DiscoveryType.AGGREGATE,
                "lb_policy": LbPolicy.CLUSTER_PROVIDED,
                "members": ("b", "c"),
                "endpoints": (),
            },
        ),
        ({"dns_refresh_rate": "1s", "dns_lookup_family": "V4_ONLY"}, {}),  # not asked for where nothing is resolved
        ({"load_assignment": None}, {"endpoints": ()}),
    ],
)
def test_what_a_cluster_says_is_in_its_value(fields: dict[str, Any], changed: dict[str, Any]) -> None:
    value, faults, listed = compiled(**fields)
    assert value == ClusterConfig("a", **{"endpoints": ONE, **changed})
    assert faults == []
    assert listed == []


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"type": "STRICT_DNS"}, {"discovery": DiscoveryType.STRICT_DNS}),
        ({"type": "LOGICAL_DNS"}, {"discovery": DiscoveryType.LOGICAL_DNS}),
        (
            {
                "type": "STRICT_DNS",
                "dns_refresh_rate": "1s",
                "dns_lookup_family": "ALL",
                "respect_dns_ttl": True,
                "dns_jitter": "1s",
                "dns_failure_refresh_rate": {"base_interval": "2s"},
            },
            {
                "discovery": DiscoveryType.STRICT_DNS,
                "dns": DnsConfig("ALL", 1.0, (2.0, 20.0), respect_ttl=True, jitter=1.0),
            },
        ),
        (
            {
                "type": None,
                "dns_lookup_family": "V6_ONLY",
                "cluster_type": {
                    "name": "x",
                    "typed_config": {"@type": DNS, "dns_refresh_rate": "2s", "all_addresses_in_single_endpoint": True},
                },
            },
            {"discovery": DiscoveryType.LOGICAL_DNS, "dns": DnsConfig(refresh_rate=2.0)},
        ),
        ({"type": None, "cluster_type": {"name": "envoy.cluster.strict_dns"}}, {"discovery": DiscoveryType.STRICT_DNS}),
    ],
)
def test_names_are_resolved_as_the_cluster_says(fields: dict[str, Any], changed: dict[str, Any]) -> None:
    value, faults, listed = compiled(**{**NAMED, **fields})
    assert value == ClusterConfig("a", endpoints=(EndpointConfig(AddressConfig("localhost", 80)),), **changed)
    assert faults == []
    assert listed == []


@pytest.mark.parametrize(
    ("fields", "resolver"),
    [
        ({}, None),
        ({"use_tcp_for_dns_lookups": True}, CaresConfig(tcp=True)),
        (
            {"dns_resolution_config": {"resolvers": [server("::1", 0)], "dns_resolver_options": {}}},
            CaresConfig(("[::1]:53",)),
        ),
        (resolved_by("getaddrinfo", "GetAddrInfo", num_retries=3), SystemResolverConfig(3)),
        (resolved_by("getaddrinfo", "GetAddrInfo", num_resolver_threads=2), SystemResolverConfig(threads=2)),
        (resolved_by("cares", "Cares"), CaresConfig()),
        (
            {"dns_resolution_config": {"resolvers": [server("10.0.0.1", 1)]}, **resolved_by("cares", "Cares")},
            CaresConfig(),
        ),
        (
            resolved_by(
                "cares",
                "Cares",
                resolvers=[server("10.0.0.1", 5353), server("10.0.0.2", 0, protocol="UDP")],
                use_resolvers_as_fallback=True,
                filter_unroutable_families=True,
                dns_resolver_options={"use_tcp_for_dns_lookups": True, "no_default_search_domain": True},
                query_timeout_seconds=2,
                query_tries=3,
                rotate_nameservers=True,
                max_udp_channel_duration="60s",
                reinit_channel_on_timeout=True,
            ),
            CaresConfig(
                ("10.0.0.1:5353", "10.0.0.2:53"),
                fallback=True,
                tcp=True,
                search=False,
                timeout=2.0,
                tries=3,
                rotate=True,
                lifetime=60.0,
                renew_on_timeout=True,
                routable=True,
            ),
        ),
    ],
)
def test_who_is_asked_for_names(fields: dict[str, Any], resolver: Any) -> None:
    value, faults, listed = compiled(**{**NAMED, "type": "STRICT_DNS", **fields})
    assert (value.dns.resolver, faults, listed) == (resolver, [], [])


def test_a_dns_server_has_an_address() -> None:
    pipe = {"pipe": {"path": "/x"}}
    faults = compiled(**NAMED, type="STRICT_DNS", dns_resolution_config={"resolvers": [pipe]})[1]
    assert "a DNS server has no path" in faults[0]


def test_hosts_carry_what_is_said_of_them_and_of_their_locality() -> None:
    load = {
        "cluster_name": "a",
        "policy": {"overprovisioning_factor": 200},
        "endpoints": [
            {
                "locality": {"region": "r", "zone": "z", "sub_zone": "s"},
                "load_balancing_weight": 3,
                "lb_endpoints": [
                    {**host("10.0.0.1", 80), "load_balancing_weight": 5, "health_status": "DRAINING"},
                    {"endpoint": {"address": {"pipe": {"path": "/x"}}, "hostname": "h"}, "health_status": "DEGRADED"},
                ],
            },
            {"lb_endpoints": [{**host("::1", 81), "metadata": {"filter_metadata": {"n": {"k": "v"}}}}]},
        ],
    }
    value, faults, listed = compiled(load_assignment=load)
    at: dict[str, Any] = {"region": "r", "zone": "z", "sub_zone": "s", "locality_weight": 3}
    assert (value.overprovisioning, value.weighted_priority_health) == (200, False)
    assert value.endpoints == (
        EndpointConfig(AddressConfig("10.0.0.1", 80), weight=5, healthy=False, draining=True, **at),
        EndpointConfig(AddressConfig(pipe="/x"), hostname="h", degraded=True, **at),
        EndpointConfig(AddressConfig("::1", 81), metadata={"n": {"k": "v"}}),
    )
    assert (faults, listed) == ([], [])


def test_hosts_have_priorities() -> None:
    load = {
        "cluster_name": "a",
        "endpoints": [
            {"lb_endpoints": []},
            {"priority": 1, "lb_endpoints": [host("10.0.0.1")]},
            {"priority": 2, "lb_endpoints": [host("10.0.0.2")]},
        ],
    }
    value, faults, listed = compiled(load_assignment=load)
    assert [(str(one.address), one.priority) for one in value.endpoints] == [("10.0.0.1:1", 1), ("10.0.0.2:1", 2)]
    assert (faults, listed) == ([], [])


@pytest.mark.parametrize(
    ("fields", "listed"),
    [
        ({"outlier_detection": {}}, []),
        ({"per_connection_buffer_limit_bytes": 1}, []),
        ({"upstream_connection_options": {"tcp_keepalive": {}}}, []),
        ({"type": "STRICT_DNS", "respect_dns_ttl": True}, []),
        ({"preconnect_policy": {"predictive_preconnect_ratio": 2}}, ["predictive_preconnect_ratio"]),
        (resolved_by("apple", "Apple"), ["typed_dns_resolver_config"]),
        (resolved_by("cares", "Cares", udp_max_queries=5), ["udp_max_queries"]),
        ({"lb_subset_config": {}}, []),
        ({"close_connections_on_host_health_failure": True}, []),
        ({"round_robin_lb_config": {"slow_start_config": {}}}, []),
        ({"circuit_breakers": {"per_host_thresholds": [{"max_connections": 1}]}}, []),
        ({"circuit_breakers": {"thresholds": [{"retry_budget": {}}]}}, []),
        (
            balanced(
                {"@type": f"{BALANCERS}.pick_first.v3.PickFirst"}, {"@type": f"{BALANCERS}.round_robin.v3.RoundRobin"}
            ),
            ["typed_extension_config"],
        ),
    ],
)
def test_what_is_not_honoured_is_left_unread(fields: dict[str, Any], listed: list[str]) -> None:
    assert compiled(**fields)[1:] == ([], listed)


@pytest.mark.parametrize(
    ("fields", "faults"),
    [
        ({"type": "EDS", "load_assignment": None}, ["eds_cluster_config: is required for a cluster of type EDS"]),
        ({"type": "EDS"}, ["load_assignment: an EDS cluster learns its hosts"]),
        (
            {"lb_policy": "LOAD_BALANCING_POLICY_CONFIG", "type": "EDS"},
            ["load_balancing_policy: is required", "load_assignment: an EDS cluster"],
        ),
        (
            {"type": "ORIGINAL_DST", "load_assignment": None},
            ["lb_policy: CLUSTER_PROVIDED is for clusters"],
        ),
        ({"lb_policy": "CLUSTER_PROVIDED"}, ["lb_policy: CLUSTER_PROVIDED is for clusters"]),
        (
            {"type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"},
            ["load_assignment: an ORIGINAL_DST cluster finds its hosts itself"],
        ),
        (
            {"load_assignment": assignment(host("foo"), host("1.2.3"), {})},
            [f"load_assignment.endpoints[0].lb_endpoints[{at}].endpoint" for at in range(3)],
        ),
        ({"type": "LOGICAL_DNS", "load_assignment": None}, ["load_assignment: is required"]),
        ({"type": "LOGICAL_DNS", "load_assignment": assignment()}, ["load_assignment.endpoints: holds 0 hosts"]),
        (
            explicit(explicit_http_config={"http3_protocol_options": {}}),
            [f'typed_extension_protocol_options["{OPTIONS}"].explicit_http_config.http3_protocol_options: http3'],
        ),
        (
            explicit(explicit_http_config=None, auto_config={"http2_protocol_options": {}}),
            [f'typed_extension_protocol_options["{OPTIONS}"].auto_config: needs a transport_socket with TLS'],
        ),
        (
            {
                "transport_socket": {
                    "name": "tls",
                    "typed_config": {"@type": f"{URL}envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"},
                }
            },
            ["transport_socket.typed_config: the transport socket 'tls' of type envoy.extensions"],
        ),
        (balanced({"@type": f"{BALANCERS}.pick_first.v3.PickFirst"}), ["load_balancing_policy.policies: holds no"]),
        (
            {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 9, "maximum_ring_size": 8}},
            ["ring_hash_lb_config.minimum_ring_size: is 9"],
        ),
        (
            {"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 9}},
            ["maglev_lb_config.table_size: 9 is not a prime number"],
        ),
        (
            {"type": None, "cluster_type": {"name": "envoy.cluster.strict_dn"}},
            ["cluster_type.name: unknown cluster type"],
        ),
    ],
)
def test_what_cannot_be_is_a_fault(fields: dict[str, Any], faults: list[str]) -> None:
    found = compiled(**fields)[1]
    assert len(found) == len(faults)
    assert [one for one, start in zip(found, faults, strict=True) if not one.startswith(start)] == []


def test_clusters_share_what_they_do_not_say() -> None:
    first, second = compiled()[0], compiled(**explicit())[0]
    assert first.http is second.http
    assert first.thresholds is second.thresholds
    assert hash(first) == hash(second)
