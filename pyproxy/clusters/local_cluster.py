"""The cluster of proxies like this one, which zone-aware routing measures its own share by (Envoy:
ClusterManager.local_cluster_name)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pyproxy.clusters.host_set import HostSet
from pyproxy.clusters.load_balancers.zone_aware import Locality, ZoneView
from pyproxy.config.runtime_values import RuntimeValues

if TYPE_CHECKING:
    from pyproxy.clusters.cluster import Cluster


class LocalCluster:
    """`find` makes the cluster live when somebody first asks; `locality` is where this proxy is."""

    def __init__(
        self, name: str, locality: Locality, values: RuntimeValues, find: Callable[[str], Cluster | None]
    ) -> None:
        self._name = name
        self._locality = locality
        self._values = values
        self._find = find
        self._followers: set[Cluster] = set()

    def view(self, cluster: Cluster) -> ZoneView | None:
        """For one cluster, which is told to look again when the local cluster changes; None where its policy does not
        care."""
        config = cluster.config
        if not self._name or config.name == self._name or not config.zone_aware:
            return None
        self._followers.add(cluster)
        local = self._find(self._name)
        peers = () if local is None else tuple(host for host in local.host_set.hosts if host.priority == 0)
        numbers = self._values.number
        zones = replace(
            config.zones,
            enabled_percent=int(numbers("upstream.zone_routing.enabled", config.zones.enabled_percent)),
            min_cluster_size=int(numbers("upstream.zone_routing.min_cluster_size", config.zones.min_cluster_size)),
        )
        panic = HostSet(peers, cluster.panic_threshold).panic
        return ZoneView(self._locality, peers, panic, zones, config.fail_on_panic, cluster.stats)

    def changed(self, cluster: Cluster) -> None:
        """Hosts of a cluster have changed, or their health."""
        if self._name and cluster.name == self._name:
            for follower in self._followers:
                follower.on_health_change()

    def forget(self, cluster: Cluster) -> None:
        self._followers.discard(cluster)
