"""A cluster as a value (envoy.config.cluster.v3.Cluster). `clusters.cluster` builds the live one.

The compile functions are in `config.cluster_compile`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

from pyproxy.config.address import AddressConfig
from pyproxy.config.bind import BindConfig
from pyproxy.config.config_source import ConfigSourceConfig
from pyproxy.config.dns import DEFAULTS as _DNS
from pyproxy.config.dns import DnsConfig
from pyproxy.config.dns_cache import DnsCacheConfig, SubClustersConfig
from pyproxy.config.health_check import HealthCheckConfig
from pyproxy.config.http2 import H2Options
from pyproxy.config.load_policy import NO_EWMA, NO_ORCA, EwmaConfig, OrcaConfig, OverrideSource
from pyproxy.config.outlier import OutlierConfig
from pyproxy.config.proxy_header import ProxyHeaderConfig
from pyproxy.config.subset import SubsetConfig
from pyproxy.config.tls import PassedMetadata, SecretRef, TransportSocketMatch, UpstreamTlsConfig

NOTHING: Mapping[str, Any] = MappingProxyType({})


class DiscoveryType(Enum):
    STATIC = "STATIC"
    STRICT_DNS = "STRICT_DNS"
    LOGICAL_DNS = "LOGICAL_DNS"
    ORIGINAL_DST = "ORIGINAL_DST"
    EDS = "EDS"
    AGGREGATE = "AGGREGATE"
    DYNAMIC = "DYNAMIC"
    """The host is the one that the request names (dynamic forward proxy)."""


class LbPolicy(Enum):
    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_REQUEST = "LEAST_REQUEST"
    RANDOM = "RANDOM"
    RING_HASH = "RING_HASH"
    MAGLEV = "MAGLEV"
    CLIENT_SIDE_WEIGHTED_ROUND_ROBIN = "CLIENT_SIDE_WEIGHTED_ROUND_ROBIN"
    PEAK_EWMA = "PEAK_EWMA"
    """These two are to be had as extensions only."""
    CLUSTER_PROVIDED = "CLUSTER_PROVIDED"
    """Discovery chooses itself, as ORIGINAL_DST does."""


class UpstreamProtocol(Enum):
    HTTP1 = "HTTP1"
    HTTP2 = "HTTP2"
    AUTO = "AUTO"
    """What is agreed on by ALPN."""
    DOWNSTREAM = "DOWNSTREAM"
    """That of the request."""


@dataclass(frozen=True, slots=True)
class HashingConfig:
    """Of RING_HASH and MAGLEV. `balance_factor` bounds the load of a host, in percent of its share; 0 for no bound."""

    least_ring: int = 1024
    most_ring: int = 8 * 1024 * 1024
    murmur: bool = False
    table_size: int = 65537
    by_hostname: bool = False
    balance_factor: int = 0


@dataclass(frozen=True, slots=True)
class SlowStartConfig:
    """A host that is new or healthy again gets its share little by little, for `window` seconds."""

    window: float
    aggression: float = 1.0
    least_percent: float = 10.0


@dataclass(frozen=True, slots=True)
class ZoneConfig:
    """Zone-aware routing; it needs the bootstrap to name a local cluster. From `force_size` well hosts on everything
    stays in our locality, whatever its share; None for never. `by_weight` adds up weights in place of hosts."""

    enabled_percent: int = 100
    min_cluster_size: int = 6
    force_size: int | None = None
    by_weight: bool = False


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """One host (or DNS name) of a cluster."""

    address: AddressConfig
    hostname: str = ""
    also: tuple[AddressConfig, ...] = ()
    """Further addresses of the same host."""
    weight: int = 1
    healthy: bool = True
    degraded: bool = False
    """Only for what the healthy ones cannot take."""
    draining: bool = False
    priority: int = 0
    locality_weight: int = 0
    check_port: int = 0
    """Where to ask for its health; 0 for its own port."""
    check_hostname: str = ""
    checked: bool = True
    region: str = ""
    zone: str = ""
    sub_zone: str = ""
    metadata: Mapping[str, Any] = field(default_factory=lambda: NOTHING, hash=False)


@dataclass(frozen=True, slots=True)
class AssignmentConfig:
    """All hosts of an EDS cluster (`ClusterLoadAssignment`).

    They go where no update came for `stale_after` seconds; 0: never.
    """

    endpoints: tuple[EndpointConfig, ...] = ()
    stale_after: float = 0.0
    overprovisioning: int = 140
    weighted_priority_health: bool = False


@dataclass(frozen=True, slots=True)
class EdsConfig:
    """Where an EDS cluster learns its hosts (`EdsClusterConfig`), and under which name."""

    source: ConfigSourceConfig
    service_name: str


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Circuit-breaker limits of one priority, for the whole process (envoy.config.cluster.v3.CircuitBreakers).

    `retry_budget` is (percent of active requests, but at least so many retries) and goes before `max_retries`. With
    `own_retry_limits` the configuration says nothing of retries (see docs/differences.md, Retries).
    """

    max_connections: int = 1024
    max_pending_requests: int = 1024
    max_requests: int = 1024
    max_retries: int = 3
    retry_budget: tuple[float, int] | None = None
    own_retry_limits: bool = True
    track_remaining: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamHttpOptions:
    """How a cluster speaks HTTP (envoy.extensions.upstreams.http.v3.HttpProtocolOptions). Seconds; 0 means none."""

    idle_timeout: float = 3600.0
    max_connection_duration: float = 0.0
    max_requests_per_connection: int = 0
    max_response_headers: int = 100
    max_response_headers_kb: int = 60
    header_key_format: str = "lower"
    enable_trailers: bool = False
    max_stream_duration: float = 0.0
    protocol: UpstreamProtocol = UpstreamProtocol.HTTP1
    http2: H2Options = H2Options()
    auto_sni: bool = False
    auto_san_validation: bool = False
    sni_header: bytes = b""
    """The header that says what `auto_sni` and `auto_san_validation` take in place of the authority; empty for none."""

    @property
    def names_upstreams(self) -> bool:
        """Each request says for which name its connection has to be."""
        return self.auto_sni or self.auto_san_validation


_ZONE_AWARE = (LbPolicy.ROUND_ROBIN, LbPolicy.LEAST_REQUEST, LbPolicy.RANDOM, LbPolicy.PEAK_EWMA)


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """Seconds for all times; bytes for all sizes. `thresholds` is (default priority, high priority)."""

    name: str
    discovery: DiscoveryType = DiscoveryType.STATIC
    lb_policy: LbPolicy = LbPolicy.ROUND_ROBIN
    least_request_choices: int = 2
    least_request_bias: float = 1.0
    full_scan: bool = False
    """LEAST_REQUEST looks at all hosts."""
    hashing: HashingConfig = HashingConfig()
    slow_start: SlowStartConfig | None = None
    orca: OrcaConfig = NO_ORCA
    ewma: EwmaConfig = NO_EWMA
    overrides: tuple[OverrideSource, ...] = ()
    """Where requests name their hosts; what is said of balancing is for those that do not."""
    override_statuses: frozenset[str] = frozenset(("HEALTHY", "DEGRADED"))
    """The health of hosts that a filter may choose (common_lb_config.override_host_status)."""
    locality_weighted: bool = False
    zones: ZoneConfig = ZoneConfig()
    fail_on_panic: bool = False
    """Where too few hosts are well nobody is tried (zone_aware_lb_config.fail_traffic_on_panic)."""
    endpoints: tuple[EndpointConfig, ...] = ()
    overprovisioning: int = 140
    """How much more than all hosts a priority counts for, in percent (ClusterLoadAssignment.Policy)."""
    weighted_priority_health: bool = False
    eds: EdsConfig | None = None
    """Of a cluster of type EDS, and of no other."""
    connect_timeout: float = 5.0
    buffer_limit: int = 1024 * 1024
    thresholds: tuple[Thresholds, Thresholds] = (Thresholds(), Thresholds())
    per_host_connections: int = 0
    """At most so many connections to one host; 0 for no limit (CircuitBreakers.per_host_thresholds)."""
    http: UpstreamHttpOptions = UpstreamHttpOptions()
    members: tuple[str, ...] = ()
    """The names of the clusters that an AGGREGATE is made of, the best first."""
    dns_cache: DnsCacheConfig | None = None
    """Of a DYNAMIC cluster whose hosts are those of the cache."""
    sub_clusters: SubClustersConfig | None = None
    """Of a DYNAMIC cluster that makes one cluster for each name."""
    original_dst_header: bytes = b""
    """The header that names the host of an ORIGINAL_DST cluster; empty for none."""
    original_dst_port: int = 0
    cleanup_interval: float = 5.0
    alt_stat_name: str = ""
    dns: DnsConfig = _DNS
    preconnect_ratio: float = 1.0
    """So many connections for each request that a host has, rounded up, before they are needed."""
    happy_eyeballs: tuple[int, int] = (0, 1)
    """(4 or 6 for the family that is tried first, 0 for that of the first address; how many of it)"""
    bind: BindConfig | None = None
    """Where connections come from; None where the system chooses."""
    tcp_keepalive: tuple[int, int, int] | None = None
    """(probes, seconds idle, seconds between probes); 0 keeps the system's."""
    tls: UpstreamTlsConfig | None = None
    """None means plain text."""
    proxy_header: ProxyHeaderConfig | None = None
    """Sent first, and before TLS (Envoy: envoy.transport_sockets.upstream_proxy_protocol)."""
    passed: tuple[PassedMetadata, ...] = ()
    """What of the metadata goes along to internal listeners (Envoy: envoy.transport_sockets.internal_upstream)."""
    tls_matches: tuple[TransportSocketMatch, ...] = ()
    """The first that fits a host goes before `tls`."""
    panic_threshold: float = 50.0
    """Percent of healthy hosts below which health is ignored (common_lb_config.healthy_panic_threshold)."""
    subsets: SubsetConfig | None = None
    outlier: OutlierConfig | None = None
    health_checks: tuple[HealthCheckConfig, ...] = ()
    ignore_new_hosts: bool = False
    """A host that was not asked for its health yet does not count among those that are ill (panic, priorities;
    common_lb_config.ignore_new_hosts_until_first_hc)."""
    close_on_failure: bool = False
    """A host that fails its health check loses its connections (close_connections_on_host_health_failure)."""
    metadata: Mapping[str, Any] = field(default_factory=lambda: NOTHING, hash=False)

    @property
    def zone_aware(self) -> bool:
        """Its policy looks at localities where there is a local cluster."""
        return not self.locality_weighted and self.lb_policy in _ZONE_AWARE

    @property
    def balances(self) -> bool:
        """Any host can take any request."""
        return self.lb_policy is not LbPolicy.CLUSTER_PROVIDED and self.subsets is None

    @property
    def secrets_elsewhere(self) -> tuple[SecretRef, ...]:
        """Certificates and the like that it gets by SDS."""
        contexts = (self.tls, *(one.tls for one in self.tls_matches))
        sources = (tls.source for tls in contexts if tls is not None)
        return tuple(ref for source in sources if source is not None for ref in source.secrets)

    @property
    def stat_name(self) -> str:
        """The name under which statistics are kept."""
        return self.alt_stat_name or self.name
