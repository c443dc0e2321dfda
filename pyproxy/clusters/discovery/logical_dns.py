"""LOGICAL_DNS discovery: one host, which new connections find at the first address of its name.

When the address changes, connections that are open stay: right for a service behind many addresses that answers
with a few of them each time.
"""

from __future__ import annotations

from dataclasses import replace

from pyproxy.clusters.discovery.discovery import Discovering, DiscoveryServices
from pyproxy.clusters.discovery.dns_name import DnsName
from pyproxy.clusters.membership import Member
from pyproxy.config.cluster import ClusterConfig


class LogicalDnsDiscovery:
    """The one endpoint of the cluster."""

    __slots__ = ("_cluster", "_endpoint", "_key", "_name", "_settled")

    def __init__(self, config: ClusterConfig, services: DiscoveryServices) -> None:
        (self._endpoint,) = config.endpoints
        self._key = str(self._endpoint.address)
        self._name = DnsName(self._endpoint.address.host, config, services, self._on_answer)
        self._cluster: Discovering | None = None
        self._settled = False

    def start(self, cluster: Discovering) -> None:
        self._cluster = cluster
        self._name.start()

    def close(self) -> None:
        self._name.close()
        self._cluster = None

    def _on_answer(self, changed: bool) -> None:
        if self._cluster is None:
            return
        if changed:
            endpoint = self._endpoint
            at, *also = (replace(endpoint.address, host=address) for address in self._name.addresses)
            hostname = endpoint.hostname or self._name.name
            resolved = replace(endpoint, address=at, also=tuple(also), hostname=hostname)
            self._cluster.on_members((Member(self._key, resolved),))
        if not self._settled:
            self._settled = True
            self._cluster.on_settled()
