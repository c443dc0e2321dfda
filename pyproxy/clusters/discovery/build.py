"""Which discovery a cluster gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from pyproxy.clusters.discovery.aggregate import AggregateDiscovery
from pyproxy.clusters.discovery.discovery import Discovery, DiscoveryServices
from pyproxy.clusters.discovery.dynamic import DynamicDiscovery, SubClusters
from pyproxy.clusters.discovery.eds import EdsDiscovery
from pyproxy.clusters.discovery.logical_dns import LogicalDnsDiscovery
from pyproxy.clusters.discovery.original_dst import OriginalDstDiscovery
from pyproxy.clusters.discovery.static import StaticDiscovery
from pyproxy.clusters.discovery.strict_dns import StrictDnsDiscovery
from pyproxy.config.cluster import ClusterConfig, DiscoveryType
from pyproxy.telemetry.cluster_stats import ClusterStats

if TYPE_CHECKING:
    from pyproxy.clusters.cluster import ClusterServices


def build_discovery(config: ClusterConfig, services: ClusterServices, stats: ClusterStats) -> Discovery:
    discovering = DiscoveryServices(services.loop, services.resolvers, services.rng, stats)
    match config.discovery:
        case DiscoveryType.STATIC:
            return StaticDiscovery(config.endpoints)
        case DiscoveryType.STRICT_DNS:
            return StrictDnsDiscovery(config, discovering)
        case DiscoveryType.LOGICAL_DNS:
            return LogicalDnsDiscovery(config, discovering)
        case DiscoveryType.ORIGINAL_DST:
            return OriginalDstDiscovery(config, discovering)
        case DiscoveryType.AGGREGATE:
            return AggregateDiscovery(config, services.clusters.get, services.rng)
        case DiscoveryType.DYNAMIC:
            if config.sub_clusters is not None:
                return SubClusters(config, config.sub_clusters, services)
            assert config.dns_cache is not None
            return DynamicDiscovery(config, services.dns_caches.of(config.dns_cache))
        case DiscoveryType.EDS:
            assert config.eds is not None
            return EdsDiscovery(config.eds, services.assignments)
    assert_never(config.discovery)
