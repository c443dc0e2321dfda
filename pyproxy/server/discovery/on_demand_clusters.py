"""ODCDS in the manager: clusters that are asked for by name when a request needs them, beside those of CDS."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from pyproxy.config.config_source import ConfigSourceConfig
from pyproxy.config.config_source_compile import source_of_spec
from pyproxy.config.resources import ResourceType
from pyproxy.server.discovery.clusters import Clusters
from pyproxy.server.discovery.demand import decided
from pyproxy.server.discovery.sources import Sources
from pyproxy.xds_client.source import NoSource
from pyproxy.xds_client.subscription import Subscription, Update

log = logging.getLogger("pyproxy.server.discovery")


class OnDemandClusters:
    """Of all sources."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sources: Sources, clusters: Clusters) -> None:
        self.loop = loop
        self.sources = sources
        self.clusters = clusters
        self._specs: dict[str, FollowedClusters] = {}
        self._followed: dict[ConfigSourceConfig, FollowedClusters] = {}

    def demand(self, spec: str, name: str) -> asyncio.Future[bool]:
        """Ask a source for a cluster (`OnDemandClustersConfig.spec`). Whether it is in force."""
        waiting = self.clusters.demand(name)
        if waiting is None:
            return decided(found=True)
        try:
            self._source(spec).ask(name)
        except NoSource as error:
            log.warning("the cluster %r cannot be asked for: %s", name, error)
            self.clusters.demands.decide(name, found=False)
        return waiting

    def _source(self, spec: str) -> FollowedClusters:
        found = self._specs.get(spec)
        if found is None:
            config = source_of_spec(spec)
            found = self._followed.get(config)
            if found is None:
                self.sources.check(config)
                found = self._followed[config] = FollowedClusters(self, config)
            self._specs[spec] = found
        return found


class FollowedClusters:
    """Those of one source. A `ResourceSink`."""

    def __init__(self, owner: OnDemandClusters, source: ConfigSourceConfig) -> None:
        self._owner = owner
        self._source = source
        self._names: set[str] = set()
        self._subscription: Subscription | None = None
        self._scheduled = False

    def ask(self, name: str) -> None:
        if name not in self._names:
            self._names.add(name)
            self._schedule()

    # subscription.ResourceSink

    def on_update(self, update: Update) -> Mapping[str, str]:
        reasons: dict[str, str] = {}
        clusters = self._owner.clusters
        for resource in update.added:
            if resource.name in self._names:
                reason = clusters.take_on_demand(resource)
                if reason:
                    reasons[resource.name] = reason
        for name in update.removed:
            clusters.drop_on_demand(name)
            self.on_missing(name)
        return reasons

    def on_missing(self, name: str) -> None:
        """What is not there is asked for anew when it is needed anew."""
        if name in self._names:
            self._names.discard(name)
            self._schedule()
        self._owner.clusters.demands.decide(name, found=False)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._owner.loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._scheduled = False
        if self._subscription is not None:
            self._subscription.watch(self._names)
        elif self._names:
            sources = self._owner.sources
            self._subscription = sources.subscribe(self._source, ResourceType.CLUSTER, self, self._names)
