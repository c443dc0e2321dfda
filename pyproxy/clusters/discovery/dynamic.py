"""Dynamic forward proxies: the host is the one that the request names (Envoy: envoy.clusters.dynamic_forward_proxy).

A filter has the name resolved before it comes to a choice. Security posture: whoever can send requests chooses where
they go, so routes to such a cluster belong behind authorisation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from pyproxy import clock
from pyproxy.clusters.discovery.discovery import Discovering
from pyproxy.clusters.dns_cache import CacheFull, DnsCache
from pyproxy.clusters.dynamic_host import host_of
from pyproxy.clusters.host import Host
from pyproxy.clusters.membership import Member
from pyproxy.config.address import AddressConfig
from pyproxy.config.cluster import ClusterConfig, DiscoveryType, EndpointConfig, LbPolicy
from pyproxy.config.dns_cache import Named, SubClustersConfig
from pyproxy.http.message import Request
from pyproxy.tasks import call_every

if TYPE_CHECKING:
    from pyproxy.clusters.cluster import Cluster, ClusterServices

_TLS_PORT, _PORT = 443, 80
_LOOKS = 4
"""How often in their life sub-clusters are looked at."""


def default_port(config: ClusterConfig) -> int:
    """Where a request that names no port goes."""
    return _PORT if config.tls is None else _TLS_PORT


class Unready(Enum):
    """Why there is no host yet, in Envoy's words."""

    CACHE_FULL = "DNS cache overflow"
    TOO_MANY_WAIT = "Dynamic forward proxy pending request overflow"
    TOO_MANY_CLUSTERS = "Sub cluster overflow"
    FAILED = "DNS resolution failure"


class NotPrepared(Exception):
    """A name cannot be resolved, or not now."""

    def __init__(self, why: Unready, detail: str = "") -> None:
        super().__init__(detail or why.value)
        self.why = why


class DynamicDiscovery:
    """Its hosts are the names of a DNS cache that have an address."""

    def __init__(self, config: ClusterConfig, cache: DnsCache) -> None:
        self.cache = cache
        self.port = default_port(config)
        self._cluster: Discovering | None = None
        self._forget: Callable[[], None] | None = None

    def start(self, cluster: Discovering) -> None:
        self._cluster = cluster
        self._forget = self.cache.watch(self._on_change)
        self._on_change()
        cluster.on_settled()

    def close(self) -> None:
        self._cluster = None
        if self._forget is not None:
            self._forget()

    def choose(self, request: Request) -> Host | None:
        named = host_of(request, self.port)
        if named is None or self._cluster is None:
            return None
        self.cache.find(*named)
        return self._cluster.host(_key(named))

    async def prepare(self, request: Request) -> None:
        """Have the name resolved before a host is chosen. Raises NotPrepared."""
        named = host_of(request, self.port)
        if named is None:
            raise NotPrepared(Unready.FAILED, "no host")
        if not self.cache.may_wait():
            raise NotPrepared(Unready.TOO_MANY_WAIT)
        try:
            name = self.cache.look_up(*named)
        except CacheFull:
            raise NotPrepared(Unready.CACHE_FULL) from None
        await self.cache.wait(name)
        if not name.address:
            raise NotPrepared(Unready.FAILED, name.failure)

    def _on_change(self) -> None:
        if self._cluster is not None:
            self._cluster.on_members(tuple(self._members()))

    def _members(self) -> list[Member]:
        return [
            Member(
                _key((name.host, name.port)),
                EndpointConfig(AddressConfig(name.address, name.port), hostname=name.host),
            )
            for name in self.cache.names
        ]


class SubClusters:
    """Each name has a cluster of its own, of all its addresses."""

    def __init__(self, config: ClusterConfig, sub: SubClustersConfig, services: ClusterServices) -> None:
        self._config = config
        self._sub = sub
        self._services = services
        self.port = default_port(config)
        self._used: dict[str, float] = {}
        self._stop: Callable[[], None] | None = None

    def start(self, cluster: Discovering) -> None:
        cluster.on_members(())
        cluster.on_settled()
        for host, port in self._sub.made_early:
            self.cluster_of((host, port))
        self._stop = call_every(self._services.loop, self._sub.ttl / _LOOKS, self._clean)

    def close(self) -> None:
        if self._stop is not None:
            self._stop()
        for name in self._used:
            self._services.clusters.remove(name)
        self._used.clear()

    def choose(self, request: Request) -> Host | None:
        named = host_of(request, self.port)
        if named is None:
            return None
        name = _name_of(named)
        cluster: Cluster | None = self._services.clusters.get(name) if name in self._used else None
        if cluster is None:
            return None
        self._used[name] = clock.now
        return cluster.choose(request)

    async def prepare(self, request: Request) -> None:
        """Wait until the cluster of a name has been asked for its hosts. Raises NotPrepared."""
        named = host_of(request, self.port)
        if named is None:
            raise NotPrepared(Unready.FAILED, "no host")
        cluster = self.cluster_of(named)
        if cluster is None:
            raise NotPrepared(Unready.TOO_MANY_CLUSTERS)
        if not cluster.ready:
            loop = self._services.loop
            waiter = loop.create_future()
            timer = loop.call_later(self._sub.patience, _done, waiter)
            cluster.when_ready(lambda: _done(waiter))
            try:
                await waiter
            finally:
                timer.cancel()

    def cluster_of(self, named: Named) -> Cluster | None:
        """The cluster of a name, made now if there is none; None where there are as many as there may be."""
        name, clusters = _name_of(named), self._services.clusters
        if name not in self._used:
            if len(self._used) >= self._sub.most:
                return None
            clusters.put(name, self._config_of(name, named))
        self._used[name] = clock.now
        found: Cluster | None = clusters.get(name)
        return found

    def _config_of(self, name: str, named: Named) -> ClusterConfig:
        endpoint = EndpointConfig(AddressConfig(*named), hostname=named[0])
        return replace(
            self._config,
            name=name,
            alt_stat_name="",
            discovery=DiscoveryType.STRICT_DNS,
            lb_policy=LbPolicy(self._sub.policy),
            endpoints=(endpoint,),
            sub_clusters=None,
        )

    def _clean(self) -> None:
        """Those that nobody has used for so long go."""
        for name, used in list(self._used.items()):
            if clock.now - used >= self._sub.ttl:
                del self._used[name]
                self._services.clusters.remove(name)


def _done(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _key(named: Named) -> str:
    return f"{named[0]}:{named[1]}"


def _name_of(named: Named) -> str:
    """As Envoy calls them."""
    return f"DFPCluster:{named[0]}:{named[1]}"
