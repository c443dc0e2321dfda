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
from pyproxy.config.http2 import H2Options
from pyproxy.config.tls import TransportSocketMatch, UpstreamTlsConfig

NOTHING: Mapping[str, Any] = MappingProxyType({})


class DiscoveryType(Enum):
    STATIC = "STATIC"
    STRICT_DNS = "STRICT_DNS"
    LOGICAL_DNS = "LOGICAL_DNS"
    ORIGINAL_DST = "ORIGINAL_DST"


class LbPolicy(Enum):
    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_REQUEST = "LEAST_REQUEST"
    RANDOM = "RANDOM"
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
class EndpointConfig:
    """One host (or DNS name) of a cluster."""

    address: AddressConfig
    hostname: str = ""
    weight: int = 1
    healthy: bool = True
    priority: int = 0
    region: str = ""
    zone: str = ""
    sub_zone: str = ""
    metadata: Mapping[str, Any] = field(default_factory=lambda: NOTHING, hash=False)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Circuit-breaker limits of one priority, for the whole process (envoy.config.cluster.v3.CircuitBreakers)."""

    max_connections: int = 1024
    max_pending_requests: int = 1024
    max_requests: int = 1024
    max_retries: int = 3
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


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """Seconds for all times; bytes for all sizes. `thresholds` is (default priority, high priority)."""

    name: str
    discovery: DiscoveryType = DiscoveryType.STATIC
    lb_policy: LbPolicy = LbPolicy.ROUND_ROBIN
    least_request_choices: int = 2
    least_request_bias: float = 1.0
    endpoints: tuple[EndpointConfig, ...] = ()
    connect_timeout: float = 5.0
    buffer_limit: int = 1024 * 1024
    thresholds: tuple[Thresholds, Thresholds] = (Thresholds(), Thresholds())
    http: UpstreamHttpOptions = UpstreamHttpOptions()
    original_dst_header: bytes = b""
    """The header that names the host of an ORIGINAL_DST cluster; empty for none."""
    original_dst_port: int = 0
    cleanup_interval: float = 5.0
    alt_stat_name: str = ""
    dns_lookup_family: str = "AUTO"
    dns_refresh_rate: float = 5.0
    dns_failure_refresh_rate: tuple[float, float] = (0.0, 0.0)
    """(first, most) seconds to wait after failures; zeros mean `dns_refresh_rate`."""
    tcp_keepalive: tuple[int, int, int] | None = None
    """(probes, seconds idle, seconds between probes); 0 keeps the system's."""
    tls: UpstreamTlsConfig | None = None
    """None means plain text."""
    tls_matches: tuple[TransportSocketMatch, ...] = ()
    """The first that fits a host goes before `tls`."""
    panic_threshold: float = 50.0
    """Percent of healthy hosts below which health is ignored (common_lb_config.healthy_panic_threshold)."""
    metadata: Mapping[str, Any] = field(default_factory=lambda: NOTHING, hash=False)

    @property
    def stat_name(self) -> str:
        """The name under which statistics are kept."""
        return self.alt_stat_name or self.name
