"""Compiles how a cluster finds its hosts: its type and what it says of DNS.

Envoy: `type`, `cluster_type` (envoy.extensions.clusters.dns.v3.DnsCluster) and the `dns_*` fields of Cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyproxy.config.cluster import DiscoveryType, EdsConfig
from pyproxy.config.config_source_compile import compile_config_source
from pyproxy.config.dns import DEFAULTS, DnsConfig
from pyproxy.config.dns_cache import DnsCacheConfig, SubClustersConfig
from pyproxy.config.dns_cache_compile import compile_dns_cache, compile_sub_clusters
from pyproxy.config.dns_compile import compile_dns
from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View

AGGREGATE: Final = "envoy.extensions.clusters.aggregate.v3.ClusterConfig"
DYNAMIC: Final = "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig"
DNS_CLUSTER: Final = "envoy.extensions.clusters.dns.v3.DnsCluster"

_ORIGINAL_DST_HEADER: Final = b"x-envoy-original-dst-host"
_NAMED: Final = {
    "envoy.cluster.static": DiscoveryType.STATIC,
    "envoy.cluster.strict_dns": DiscoveryType.STRICT_DNS,
    "envoy.cluster.logical_dns": DiscoveryType.LOGICAL_DNS,
    "envoy.cluster.original_dst": DiscoveryType.ORIGINAL_DST,
    "envoy.cluster.eds": DiscoveryType.EDS,
}
_DNS_FIELDS: Final = (
    "dns_refresh_rate",
    "dns_jitter",
    "dns_failure_refresh_rate",
    "respect_dns_ttl",
    "dns_lookup_family",
    "typed_dns_resolver_config",
    "dns_resolvers",
    "dns_resolution_config",
    "use_tcp_for_dns_lookups",
)
_SUPPORTED: Final = tuple(kind.value for kind in _NAMED.values())
PROVIDES: Final = frozenset((DiscoveryType.ORIGINAL_DST, DiscoveryType.AGGREGATE, DiscoveryType.DYNAMIC))
"""They choose hosts themselves."""


@dataclass(frozen=True, slots=True)
class Resolving:
    """The part of a ClusterConfig that is about finding hosts; the names are nearly the same there."""

    discovery: DiscoveryType
    dns: DnsConfig = DEFAULTS
    original_dst_header: bytes = b""
    original_dst_port: int = 0
    eds: EdsConfig | None = None
    members: tuple[str, ...] = ()
    dns_cache: DnsCacheConfig | None = None
    sub_clusters: SubClustersConfig | None = None
    insecure: bool = False
    """A DYNAMIC cluster need not check that its hosts are who they are taken for."""


def compile_resolving(view: View, context: CompileContext) -> Resolving:
    """From a `Cluster`."""
    if view.oneof("cluster_discovery_type") == "cluster_type":
        return _custom(view, view.need("cluster_type"), context)
    kind = view.enum("type")
    if kind not in _SUPPORTED:
        view.fail("type", f"clusters of type {kind} are not supported yet", expected=f"one of {', '.join(_SUPPORTED)}")
    return _of_kind(view, DiscoveryType(kind), context)


def _of_kind(view: View, discovery: DiscoveryType, context: CompileContext) -> Resolving:
    if discovery is DiscoveryType.ORIGINAL_DST:
        view.ignore(*_DNS_FIELDS)
        return _original_dst(view)
    if discovery is DiscoveryType.STATIC:
        view.ignore(*_DNS_FIELDS)
        return Resolving(discovery)
    if discovery is DiscoveryType.EDS:
        view.ignore(*_DNS_FIELDS)
        return _eds(view, context)
    return Resolving(discovery, compile_dns(view))


def _eds(view: View, context: CompileContext) -> Resolving:
    """Envoy: `eds_cluster_config`."""
    if view.has("load_assignment"):
        view.fail("load_assignment", "an EDS cluster learns its hosts", expected="no load_assignment")
    if not view.has("eds_cluster_config"):
        view.fail("eds_cluster_config", "is required for a cluster of type EDS", expected="eds_config")
    config = view.need("eds_cluster_config")
    name = config.text("service_name") or str(view.message.name)  # type: ignore[attr-defined]
    return Resolving(DiscoveryType.EDS, eds=EdsConfig(compile_config_source(config.need("eds_config"), context), name))


def _original_dst(view: View) -> Resolving:
    """Envoy: `original_dst_lb_config`."""
    if view.has("load_assignment"):
        view.fail("load_assignment", "an ORIGINAL_DST cluster finds its hosts itself", expected="no load_assignment")
    config = view.child("original_dst_lb_config")
    if config is None:
        return Resolving(DiscoveryType.ORIGINAL_DST)
    if config.has("metadata_key"):
        config.fail("metadata_key", "is not supported yet", expected="use_http_header")
    used, name = bool(config.scalar("use_http_header")), config.text("http_header_name")
    return Resolving(
        DiscoveryType.ORIGINAL_DST,
        original_dst_header=(name.lower().encode() or _ORIGINAL_DST_HEADER) if used else b"",
        original_dst_port=config.wrapped("upstream_port_override") or 0,
    )


def _custom(view: View, custom: View, context: CompileContext) -> Resolving:
    name = custom.text("name")
    if custom.has("typed_config"):
        typed = custom.any("typed_config")
        assert typed is not None
        if typed.type_name == DNS_CLUSTER:
            view.ignore(*_DNS_FIELDS)
            return _dns_cluster(typed)
        if typed.type_name == AGGREGATE:
            view.ignore(*_DNS_FIELDS)
            return _aggregate(view, typed)
        if typed.type_name == DYNAMIC:
            return _dynamic(view, typed, context)
        known = f"{DNS_CLUSTER}, {AGGREGATE} or {DYNAMIC}"
        custom.fail("typed_config", f"clusters of type {typed.type_name} are not supported yet", expected=known)
    if name not in _NAMED:
        custom.fail_unknown("name", "cluster type", name, _NAMED)
    return _of_kind(view, _NAMED[name], context)


def _aggregate(view: View, typed: View) -> Resolving:
    """Envoy: envoy.clusters.aggregate."""
    if view.has("load_assignment"):
        view.fail("load_assignment", "an aggregate cluster has the hosts of others", expected="no load_assignment")
    return Resolving(DiscoveryType.AGGREGATE, members=tuple(map(str, typed.scalars("clusters"))))


def _dynamic(view: View, typed: View, context: CompileContext) -> Resolving:
    """Envoy: envoy.clusters.dynamic_forward_proxy."""
    if view.has("load_assignment"):
        view.fail("load_assignment", "requests say what the hosts are", expected="no load_assignment")
    insecure = bool(typed.scalar("allow_insecure_cluster_options"))
    if typed.oneof("cluster_implementation_specifier") == "sub_clusters_config":
        sub = compile_sub_clusters(typed.need("sub_clusters_config"))
        return Resolving(DiscoveryType.DYNAMIC, compile_dns(view), sub_clusters=sub, insecure=insecure)
    view.ignore(*_DNS_FIELDS)
    cache = typed.child("dns_cache_config")
    if cache is None:
        typed.fail("dns_cache_config", "is required", expected="dns_cache_config or sub_clusters_config")
    return Resolving(DiscoveryType.DYNAMIC, dns_cache=compile_dns_cache(cache, context), insecure=insecure)


def _dns_cluster(view: View) -> Resolving:
    """Its lookup family has other names for the same numbers: AUTO stands for UNSPECIFIED."""
    family = view.enum("dns_lookup_family")
    single = bool(view.scalar("all_addresses_in_single_endpoint"))
    discovery = DiscoveryType.LOGICAL_DNS if single else DiscoveryType.STRICT_DNS
    return Resolving(discovery, compile_dns(view, family="AUTO" if family == "UNSPECIFIED" else family))
