"""A whole bootstrap as values (envoy.config.bootstrap.v3.Bootstrap): the first snapshot of the world.

The compile function is in `config.bootstrap_compile`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from pyproxy.config.access_log import AccessLogConfig
from pyproxy.config.address import AddressConfig
from pyproxy.config.bind import BindConfig
from pyproxy.config.cluster import ClusterConfig
from pyproxy.config.config_source import ConfigSourceConfig, DynamicResourcesConfig
from pyproxy.config.dns import ResolverConfig
from pyproxy.config.listener import ListenerConfig
from pyproxy.config.stats import StatsConfig
from pyproxy.config.tracing import TracerConfig

NOTHING_DYNAMIC: Final = DynamicResourcesConfig()
NOTHING: Mapping[str, Any] = MappingProxyType({})
_STATS = StatsConfig()


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Who this proxy is (envoy.config.core.v3.Node)."""

    id: str = ""
    cluster: str = ""
    region: str = ""
    zone: str = ""
    sub_zone: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class AdminConfig:
    """Where the admin listens; None in the bootstrap means no admin."""

    address: AddressConfig
    access_logs: tuple[AccessLogConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class RtdsLayerConfig:
    """A runtime layer that comes from elsewhere (`RuntimeLayer.rtds_layer`); `position` is its place among them."""

    position: int
    source: ConfigSourceConfig
    name: str


@dataclass(frozen=True, slots=True)
class BootstrapConfig:
    """Listeners and clusters are the static ones. `runtime_layers` are in order, later ones win."""

    node: NodeConfig = NodeConfig()
    admin: AdminConfig | None = None
    listeners: tuple[ListenerConfig, ...] = ()
    clusters: tuple[ClusterConfig, ...] = ()
    runtime_layers: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    rtds_layers: tuple[RtdsLayerConfig, ...] = ()
    """In `runtime_layers` they are empty."""
    stats: StatsConfig = _STATS
    local_cluster: str = ""
    """The cluster of proxies like this one, for zone-aware routing; empty for none."""
    outlier_log: str = ""
    """Where ejections by outlier detection are written (`cluster_manager.outlier_detection.event_log_path`)."""
    bind: BindConfig | None = None
    """Where connections to upstreams come from, for clusters that do not say."""
    resolver: ResolverConfig | None = None
    """Of clusters that name none; None for the system's."""
    max_connections: int = 0
    """Downstream connections that may be open at once; 0 for no limit (Envoy: the overload manager)."""
    tracer: TracerConfig | None = None
    """Of connection managers that trace and name none."""
    log_format: str | Mapping[str, str] = field(default="", hash=False)
    """Of the application log: a pattern, or patterns by key for JSON lines; empty for the command line's."""
    secrets: Mapping[str, bytes] = field(default_factory=dict, hash=False, repr=False)
    """Static secrets as serialised messages, by name."""
    dynamic: DynamicResourcesConfig = NOTHING_DYNAMIC
    """Where listeners and clusters beyond the static ones come from."""

    @property
    def is_dynamic(self) -> bool:
        """Something of it comes from elsewhere, and may change."""
        return (
            self.dynamic != NOTHING_DYNAMIC
            or bool(self.rtds_layers)
            or any(one.eds is not None or one.secrets_elsewhere for one in self.clusters)
            or any(
                one.routes_elsewhere or one.scopes_elsewhere or one.filters_elsewhere or one.secrets_elsewhere
                for one in self.listeners
            )
        )
