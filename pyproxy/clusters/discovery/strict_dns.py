"""STRICT_DNS discovery: every address of every name is a host."""

from __future__ import annotations

from dataclasses import replace

from pyproxy.clusters.discovery.discovery import Discovering, DiscoveryServices
from pyproxy.clusters.discovery.dns_name import DnsName
from pyproxy.clusters.membership import Member
from pyproxy.config.cluster import ClusterConfig, EndpointConfig


class StrictDnsDiscovery:
    """One `DnsName` per endpoint; each is asked at its own pace."""

    __slots__ = ("_cluster", "_names", "_settled")

    def __init__(self, config: ClusterConfig, services: DiscoveryServices) -> None:
        self._cluster: Discovering | None = None
        self._settled = False
        self._names: list[tuple[DnsName, EndpointConfig]] = [
            (DnsName(endpoint.address.host, config, services, self._on_answer), endpoint)
            for endpoint in config.endpoints
        ]

    def start(self, cluster: Discovering) -> None:
        self._cluster = cluster
        for name, _ in self._names:
            name.start()
        if not self._names:
            cluster.on_settled()

    def close(self) -> None:
        for name, _ in self._names:
            name.close()
        self._cluster = None

    def _on_answer(self, changed: bool) -> None:
        if self._cluster is None:
            return
        if changed:
            self._cluster.on_members(self._members())
        if not self._settled and all(name.answered for name, _ in self._names):
            self._settled = True
            self._cluster.on_settled()

    def _members(self) -> tuple[Member, ...]:
        """The first endpoint that names an address has it: two names may share one."""
        found: dict[str, EndpointConfig] = {}
        for name, endpoint in self._names:
            for address in name.addresses:
                at = replace(endpoint.address, host=address)
                hostname = endpoint.hostname or name.name
                found.setdefault(str(at), replace(endpoint, address=at, hostname=hostname))
        return tuple(Member(key, endpoint) for key, endpoint in found.items())
