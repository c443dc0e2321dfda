"""Clusters as values: dynamic forward proxies, and where connections come from."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.bind import BindConfig, SourceConfig
from pyproxy.config.cluster import (
    DiscoveryType,
)
from pyproxy.config.cluster_compile import compile_cluster
from pyproxy.config.dns import DnsConfig
from pyproxy.config.dns_cache import DnsCacheConfig, SubClustersConfig
from pyproxy.config.extensions import CompileContext
from pyproxy.config.socket_option import SocketOption
from pyproxy.filters.builtin import EXTENSIONS
from tests.config.compiling import URL, as_yaml, assignment, cluster, host, problems, view
from tests.config.test_cluster_compile import CLUSTER, DNS, TLS, compiled, explicit


def dynamic(**fields: Any) -> dict[str, Any]:
    typed = {"@type": f"{URL}envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig", **fields}
    custom = {"name": "envoy.clusters.dynamic_forward_proxy", "typed_config": typed}
    return {"type": None, "load_assignment": None, "lb_policy": "CLUSTER_PROVIDED", "cluster_type": custom}


def test_the_cache_of_a_dynamic_forward_proxy() -> None:
    value, faults, listed = compiled(**dynamic(dns_cache_config={"name": "c"}))
    assert (value.discovery, value.dns_cache, faults, listed) == (DiscoveryType.DYNAMIC, DnsCacheConfig("c"), [], [])
    said = {
        "name": "c",
        "dns_lookup_family": "V4_ONLY",
        "dns_refresh_rate": "7s",
        "dns_min_refresh_rate": "2s",
        "host_ttl": "3s",
        "max_hosts": 4,
        "disable_dns_refresh_on_failure": True,
        "dns_cache_circuit_breaker": {"max_pending_requests": 5},
        "dns_query_timeout": "6s",
        "preresolve_hostnames": [{"address": "A.test", "port_value": 8}],
    }
    value, faults, listed = compiled(**dynamic(dns_cache_config=said))
    assert value.dns_cache == DnsCacheConfig(
        "c",
        DnsConfig("V4_ONLY", 7.0, respect_ttl=True),
        least_refresh=2.0,
        host_ttl=3.0,
        most_hosts=4,
        most_pending=5,
        forget_failures=True,
        patience=6.0,
        resolved_early=(("a.test", 8),),
    )
    assert (faults, listed) == ([], [])


def test_the_sub_clusters_of_a_dynamic_forward_proxy() -> None:
    said = {"lb_policy": "RANDOM", "max_sub_clusters": 2, "sub_cluster_ttl": "9s"}
    value, faults, listed = compiled(**dynamic(sub_clusters_config=said), dns_lookup_family="V4_ONLY")
    assert value.sub_clusters == SubClustersConfig("RANDOM", 2, 9.0)
    assert (value.dns.lookup_family, faults, listed) == ("V4_ONLY", [], [])


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        (dynamic(), "is required"),
        ({**dynamic(dns_cache_config={"name": "c"}), "lb_policy": "ROUND_ROBIN"}, "CLUSTER_PROVIDED"),
        ({**dynamic(dns_cache_config={"name": "c"}), "load_assignment": assignment(host())}, "requests say"),
        ({**dynamic(dns_cache_config={"name": "c"}), **TLS, **explicit()}, "over TLS checks its hosts"),
    ],
)
def test_a_dynamic_forward_proxy_that_cannot_be(fields: dict[str, Any], fault: str) -> None:
    assert fault in compiled(**fields)[1][0]


@pytest.mark.parametrize("insecure", [False, True])
def test_a_dynamic_forward_proxy_checks_its_hosts(insecure: bool) -> None:
    fields = dynamic(dns_cache_config={"name": "c"}, allow_insecure_cluster_options=insecure)
    http = compiled(**fields, **TLS)[0].http
    assert (http.auto_sni, http.auto_san_validation) == (not insecure, not insecure)


def test_a_cache_is_the_same_everywhere() -> None:
    context = CompileContext(EXTENSIONS, frozenset())
    for most, faults in ((1, 0), (1, 0), (2, 1)):
        seen = view(CLUSTER, as_yaml(cluster(**dynamic(dns_cache_config={"name": "c", "max_hosts": most}))))
        compile_cluster(seen, context)
        assert len(problems(seen)) == faults


SOURCE = {"address": "127.0.0.2", "port_value": 0}


def test_where_connections_come_from() -> None:
    options = [{"level": 1, "name": 9, "int_value": 1}]
    said = {
        "source_address": SOURCE,
        "freebind": True,
        "socket_options": options,
        "extra_source_addresses": [
            {"address": {"address": "::1", "port_value": 7}, "socket_options": {"socket_options": []}}
        ],
    }
    value, faults, listed = compiled(upstream_bind_config=said)
    first = SourceConfig("127.0.0.2", 0, True, (SocketOption(1, 9, 1),))
    second = SourceConfig("::1", 7, True)
    assert (value.bind, faults, listed) == (BindConfig((first, second)), [], [])
    assert value.bind is not None
    assert (value.bind.source_for("10.0.0.1"), value.bind.source_for("::2")) == (first, second)
    assert BindConfig((first,)).source_for("::2") is first


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"source_address": {"address": "x", "port_value": 0}}, "no IP address"),
        ({"extra_source_addresses": [{"address": SOURCE}]}, "is required where there are others"),
        ({"source_address": SOURCE, "extra_source_addresses": [{"address": SOURCE}]}, "more than one address"),
        (
            {
                "source_address": SOURCE,
                "extra_source_addresses": [{"address": SOURCE}],
                "additional_source_addresses": [SOURCE],
            },
            "beside extra_source_addresses",
        ),
        (
            {
                "source_address": SOURCE,
                "local_address_selector": {"name": "x", "typed_config": {"@type": DNS}},
            },
            "does not choose local addresses",
        ),
    ],
)
def test_sources_that_cannot_be(said: dict[str, Any], fault: str) -> None:
    assert fault in compiled(upstream_bind_config=said)[1][0]


def test_a_cluster_that_says_nothing_has_what_the_manager_says() -> None:
    context = CompileContext(EXTENSIONS)
    context.bind = BindConfig((SourceConfig("127.0.0.9"),))
    assert compile_cluster(view(CLUSTER, as_yaml(cluster())), context).bind == context.bind
    own = view(CLUSTER, as_yaml(cluster(upstream_bind_config={})))
    assert compile_cluster(own, context).bind == BindConfig((SourceConfig(),))
