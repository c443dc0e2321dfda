"""CDS in the manager: which clusters there are. A cluster is in force once it is known where its hosts are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pyproxy import clock
from pyproxy.config.cluster import ClusterConfig, DiscoveryType, EdsConfig
from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.resources import ResourceCompiler, ResourceType
from pyproxy.server.discovery.demand import Demands
from pyproxy.server.discovery.followed_type import FollowedType
from pyproxy.server.discovery.named import NamedResources, Need, release_all, want_all
from pyproxy.server.discovery.store import ResourceStore
from pyproxy.xds_client.source import NoSource
from pyproxy.xds_client.subscription import Resource, Update

log = logging.getLogger("pyproxy.server.discovery")

_BY_NAME = (DiscoveryType.STRICT_DNS, DiscoveryType.LOGICAL_DNS)


@dataclass(slots=True)
class WarmingCluster:
    """A new version that waits for its hosts."""

    resource: Resource
    config: ClusterConfig
    needs: tuple[Need, ...]
    missing: int = 0
    since: float = field(default_factory=clock.wall)


class Clusters(FollowedType[WarmingCluster]):
    """Implements `subscription.ResourceSink`."""

    def __init__(
        self,
        store: ResourceStore,
        endpoints: NamedResources,
        secrets: NamedResources,
        compiler: ResourceCompiler,
        static: tuple[ClusterConfig, ...],
        on_change: Callable[[], None],
    ) -> None:
        super().__init__(on_change)
        self._store = store
        self._endpoints = endpoints
        self._secrets = secrets
        self._compiler = compiler
        self._static = frozenset(one.name for one in static)
        self._eds: dict[str, EdsConfig] = {}
        self._needs: dict[str, tuple[Need, ...]] = {}
        self._stat_names: dict[str, str] = {}
        """Where they are not the names of the clusters."""
        self.on_demand: set[str] = set()
        """Names of clusters that came because a request needed them: CDS does not tell of them."""
        self.demands = Demands()
        """Who waits until one is in force."""
        self.added = len(static)
        self.modified = self.removed = self.updated = 0
        self._take_over()

    @property
    def names(self) -> frozenset[str]:
        """Of all clusters, those included that are not in force yet."""
        return self._static.union(self._store.of(ResourceType.CLUSTER), self.warming)

    def followed(self) -> Iterable[tuple[str, EdsConfig]]:
        """The clusters in force that learn their hosts, by the names that their statistics have."""
        return ((self._stat_names.get(name, name), eds) for name, eds in self._eds.items())

    # subscription.ResourceSink

    def on_update(self, update: Update) -> Mapping[str, str]:
        reasons: dict[str, str] = {}
        before = self._news
        told: set[str] = set()
        for resource in update.added:
            name = resource.name
            if name in told:
                reasons[name] = f"duplicate cluster {name!r}"
                continue
            told.add(name)
            reason = self._accept(resource)
            if reason:
                reasons[name] = reason
        gone = set(update.removed)
        if update.state_of_the_world:
            gone |= (self._store.of(ResourceType.CLUSTER).keys() | self.warming.keys()) - told - self.on_demand
        for name in gone:
            self._remove(name)
        if self._news > before:
            self.version = update.version
            log.info("cds: version %r: %d clusters told, %d gone", update.version, len(update.added), len(gone))
        if reasons:
            self.counts.refused()
        else:
            self.counts.reload += self._news > before
            self.counts.accepted(update.version)
        self._settle()
        return reasons

    def take_on_demand(self, resource: Resource) -> str:
        """One that a request needs. Gives the reason where it is refused, and else nothing."""
        self.on_demand.add(resource.name)
        reason = self._accept(resource)
        if reason or self._in_force(resource.name):
            self.demands.decide(resource.name, found=not reason)
        return reason

    def drop_on_demand(self, name: str) -> None:
        """One that came because a request needed it is gone."""
        if name in self.on_demand:
            self.on_demand.discard(name)
            self._remove(name)

    def _in_force(self, name: str) -> bool:
        return name in self._static or self._store.get(ResourceType.CLUSTER, name) is not None

    def demand(self, name: str) -> asyncio.Future[bool] | None:
        """Whoever waits for a cluster, None where it is in force."""
        return None if self._in_force(name) else self.demands.of(name)

    def _accept(self, resource: Resource) -> str:
        """Gives the reason where it is refused, and else nothing."""
        name = resource.name
        if name in self._static:
            return ""  # what the bootstrap says cannot be changed (Envoy)
        kind = ResourceType.CLUSTER
        held, warming = self._store.get(kind, name), self.warming.get(name)
        newest = warming.resource.body if warming is not None else None if held is None else held.body
        if newest == resource.body:
            self._store.accept(kind, name)
            return ""  # and keeps the version that it came with (Envoy)
        try:
            config = self._compiler.cluster(resource.body)
            self._begin(resource, config)
        except (InvalidConfig, NoSource) as error:
            self._store.refuse(kind, name, resource.version, resource.body, str(error))
            return str(error)
        self._store.accept(kind, name)
        return ""

    def needs_of(self, config: ClusterConfig) -> tuple[Need, ...]:
        """What has to be here before requests can be sent to a cluster: its hosts and certificates."""
        certificates = tuple((self._secrets, ref.source, ref.name) for ref in config.secrets_elsewhere)
        if config.eds is None:
            return certificates
        return ((self._endpoints, config.eds.source, config.eds.service_name), *certificates)

    def _begin(self, resource: Resource, config: ClusterConfig) -> None:
        name = resource.name
        self._news += 1
        waits = WarmingCluster(resource, config, self.needs_of(config))
        waits.missing = want_all(waits.needs, lambda: self._on_need(name, waits))
        self._drop_warming(name)
        if waits.missing:
            self.warming[name] = waits
        else:
            self._put(name, waits)

    def _on_need(self, name: str, waits: WarmingCluster) -> None:
        waits.missing -= 1
        if not waits.missing and self.warming.get(name) is waits:
            del self.warming[name]
            self._put(name, waits)
            if self._store.news is not None:
                self._store.news.warmed(ResourceType.CLUSTER, name)
            self._on_change()

    def _put(self, name: str, waits: WarmingCluster) -> None:
        if self._store.get(ResourceType.CLUSTER, name) is None:
            self.added += 1
        else:
            self.modified += 1
        self._forget(name)
        config, resource = waits.config, waits.resource
        self._remember(name, config, waits.needs)
        resolves = config.discovery in _BY_NAME or bool(config.health_checks)
        self._store.put(ResourceType.CLUSTER, name, resource.version, resource.body, resolves=resolves)
        self.demands.decide(name, found=True)

    def _remember(self, name: str, config: ClusterConfig, needs: tuple[Need, ...]) -> None:
        if needs:
            self._needs[name] = needs
        if config.eds is not None:
            self._eds[name] = config.eds
            if config.stat_name != name:
                self._stat_names[name] = config.stat_name

    def _forget(self, name: str) -> None:
        self._stat_names.pop(name, None)
        self._eds.pop(name, None)
        release_all(self._needs.pop(name, ()))

    def _remove(self, name: str) -> None:
        if name in self._static:
            return
        if self._drop_warming(name) or self._store.get(ResourceType.CLUSTER, name) is not None:
            self.removed += 1
            self._news += 1
        self._store.remove(ResourceType.CLUSTER, name)
        self._forget(name)

    def _drop_warming(self, name: str) -> bool:
        before = self.warming.pop(name, None)
        if before is not None:
            release_all(before.needs)
        return before is not None

    def _take_over(self) -> None:
        """Clusters that an earlier manager has accepted go on as they are."""
        for name, held in self._store.of(ResourceType.CLUSTER).items():
            self.added += 1
            config = self._compiler.cluster(held.body)
            needs = self.needs_of(config)
            want_all(needs, _nothing)
            self._remember(name, config, needs)


def _nothing() -> None:
    pass
