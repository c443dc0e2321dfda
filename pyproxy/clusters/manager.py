"""All clusters of a worker by name. A cluster that no request has used costs its configuration and no more."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

from pyproxy import clock
from pyproxy.clusters.cluster import Cluster, ClusterServices
from pyproxy.clusters.discovery.resolver import Resolver
from pyproxy.clusters.discovery.resolvers import Resolvers
from pyproxy.clusters.dns_cache import DnsCaches
from pyproxy.clusters.host_set import Locality
from pyproxy.clusters.local_cluster import LocalCluster
from pyproxy.clusters.peers import NoPeers, Note, Peers, Topic
from pyproxy.clusters.status import cluster_status, unused_status
from pyproxy.config.cluster import AssignmentConfig, ClusterConfig, DiscoveryType
from pyproxy.config.dns import ResolverConfig
from pyproxy.config.late import LateValues
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.network.internal_listeners import InternalListeners
from pyproxy.network.secret_watch import SecretWatch
from pyproxy.tasks import DeadlineTable
from pyproxy.telemetry.events import EventOutbox, Events
from pyproxy.telemetry.logs import AccessLogs
from pyproxy.telemetry.metrics import StatsStore

WARM_SECONDS = 10.0
"""As long as the system's resolver takes to give up: 2 tries of 5 s (resolv.conf(5))."""

MakeCluster = Callable[[], ClusterConfig]
"""Compiles a cluster that came while we run."""

_BY_DNS = (DiscoveryType.STRICT_DNS, DiscoveryType.LOGICAL_DNS)


class ClusterManager:
    """Name -> Cluster. `apply` says which there are, `get` makes them live, `warm` waits for names to be resolved."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stats: StatsStore,
        deadlines: DeadlineTable,
        values: RuntimeValues,
        *,
        workers: int = 1,
        resolver: Resolver | None = None,
        resolver_config: ResolverConfig | None = None,
        secrets: SecretWatch | None = None,
        assignments: LateValues[AssignmentConfig] | None = None,
        internal: InternalListeners | None = None,
        rng: random.Random = clock.rng,
        logs: AccessLogs | None = None,
        events: Events | None = None,
        peers: Peers | None = None,
        outlier_log: str = "",
        local_cluster: str = "",
        locality: Locality = ("", "", ""),
    ) -> None:
        self._loop = loop
        secrets = secrets or SecretWatch(loop)
        self._resolvers = Resolvers(loop, stats, resolver_config, resolver)
        self.dns_caches = DnsCaches(loop, self._resolvers, stats, rng, workers)
        hosts = LateValues[AssignmentConfig]() if assignments is None else assignments
        self._services = ClusterServices(
            loop,
            stats,
            deadlines,
            values,
            self._resolvers,
            rng,
            secrets,
            hosts,
            self,
            self.dns_caches,
            logs=logs or AccessLogs(loop),
            events=events or EventOutbox(),
            peers=peers or NoPeers(),
            workers=workers,
            outlier_log=outlier_log,
            local=LocalCluster(local_cluster, locality, values, self.get) if local_cluster else None,
            internal=internal or InternalListeners(),
        )
        self._configs: dict[str, ClusterConfig | MakeCluster] = {}
        self.live: dict[str, Cluster] = {}
        """Those that were used; who misses one asks `get`."""
        self._warming: dict[str, Cluster] = {}
        self._retired: list[Cluster] = []
        self._ejected: dict[str, dict[str, Note]] = {}
        stats.on_flush(self._on_flush)
        self._forget_values = values.watch(self._on_values)

    def apply(self, configs: Iterable[ClusterConfig]) -> None:
        """These are the clusters from now on. What is equal stays as it is, with its connections."""
        wanted = {config.name: config for config in configs}
        for name in self._configs.keys() - wanted.keys():
            self.remove(name)
        for name, config in wanted.items():
            self.put(name, config)

    def put(self, name: str, config: ClusterConfig | MakeCluster, *, resolves: bool = False) -> None:
        """Add or change one cluster. One that nobody has used is not even compiled.

        `resolves`: it has names to be resolved, and is not there for requests until that was tried.
        """
        before = self._configs.get(name)
        self._configs[name] = config
        if name in self.live or name in self._warming:
            new = config() if callable(config) else config
            if before != config and self._config_of(name) != new:
                self._replace(name, new)
        elif resolves and before is None:
            self._warm_up(name, config() if callable(config) else config)

    def remove(self, name: str) -> None:
        """Its requests in flight go on."""
        if self._configs.pop(name, None) is not None:
            self._remove(name)

    def get(self, name: str) -> Cluster | None:
        """The live cluster of that name; None if there is no such cluster."""
        found = self.live.get(name)
        return found if found is not None else self._make_live(name)

    @property
    def live_count(self) -> int:
        """How many clusters cost more than their configuration."""
        return len(self.live)

    def hear(self, note: Note) -> None:
        """What another worker tells. Ejections are kept for clusters that nobody has used here yet."""
        if note.topic is Topic.WANTED and not note.cluster:
            for cluster in self.live.values():
                cluster.hear(note)
            return
        known = [one for one in (self.live.get(note.cluster), self._warming.get(note.cluster)) if one is not None]
        for cluster in known:
            cluster.hear(note)
        if known or note.cluster not in self._configs:
            return
        if note.topic is Topic.EJECTED:
            self._ejected.setdefault(note.cluster, {})[note.host] = note
        elif note.topic is Topic.RETURNED:
            self._ejected.get(note.cluster, {}).pop(note.host, None)

    def __contains__(self, name: str) -> bool:
        return name in self._configs

    async def warm(self, seconds: float = WARM_SECONDS) -> None:
        """Start to resolve all DNS clusters and wait, at most so long, until each has its first answer."""
        done = self._loop.create_future()
        early = [n for n, config in self._configs.items() if _waits(config)]
        clusters = [self.get(name) for name in early]
        waiting = [cluster for cluster in (*clusters, *self._warming.values()) if cluster and not cluster.ready]
        left = len(waiting)

        def one_ready() -> None:
            nonlocal left
            left -= 1
            if not left and not done.done():
                done.set_result(None)

        for cluster in waiting:
            cluster.when_ready(one_ready)
        if waiting:
            await asyncio.wait((done,), timeout=seconds)

    def snapshot(self, start: int = 0, count: int | None = None) -> list[dict[str, Any]]:
        """Plain data about clusters and their hosts (admin `/clusters`): `count` of them from number `start` on."""
        end = None if count is None else start + count
        return [self._status(name, config) for name, config in itertools.islice(self._configs.items(), start, end)]

    def _status(self, name: str, config: ClusterConfig | MakeCluster) -> dict[str, Any]:
        live = self.live.get(name)
        if live is not None:
            status = cluster_status(live)
        else:
            status = unused_status(config() if callable(config) else config, self._services.assignments)
        status["added_via_api"] = callable(config)
        return status

    def close(self) -> None:
        """Close all connections and stop resolving."""
        self._forget_values()
        for cluster in (*self.live.values(), *self._warming.values(), *self._retired):
            cluster.close()
        self.live.clear()
        self._warming.clear()
        self._retired.clear()
        self._configs.clear()
        self.dns_caches.close()
        self._resolvers.close()

    def _on_values(self) -> None:
        for cluster in (*self.live.values(), *self._warming.values()):
            cluster.on_values()

    def _make_live(self, name: str) -> Cluster | None:
        config = self._configs.get(name)
        if config is None or name in self._warming:
            return None
        cluster = self.live[name] = Cluster(config() if callable(config) else config, self._services)
        cluster.start()
        for note in self._ejected.pop(name, {}).values():
            cluster.hear(note)
        return cluster

    def _remove(self, name: str) -> None:
        self._ejected.pop(name, None)
        self._stop_warming(name)
        cluster = self.live.pop(name, None)
        if cluster is not None:
            self._retire(cluster)

    def _config_of(self, name: str) -> ClusterConfig | None:
        """What is being used, or will be in a moment."""
        cluster = self._warming.get(name) or self.live.get(name)
        return None if cluster is None else cluster.config

    def _replace(self, name: str, new: ClusterConfig) -> None:
        """The old one serves until the new one has hosts, as Envoy does."""
        self._stop_warming(name)
        self._warm_up(name, new)

    def _warm_up(self, name: str, config: ClusterConfig) -> None:
        cluster = self._warming[name] = Cluster(config, self._services)
        cluster.start()
        cluster.when_ready(lambda: self._swap(name, cluster))

    def _swap(self, name: str, cluster: Cluster) -> None:
        if self._warming.get(name) is cluster:
            del self._warming[name]
            old = self.live.get(name)
            self.live[name] = cluster
            if old is not None:
                self._retire(old)

    def _stop_warming(self, name: str) -> None:
        cluster = self._warming.pop(name, None)
        if cluster is not None:
            cluster.close()

    def _retire(self, cluster: Cluster) -> None:
        """Its requests in flight go on, and go on being counted."""
        cluster.retire()
        self._retired.append(cluster)

    def _on_flush(self) -> None:
        for cluster in self.live.values():
            cluster.update_gauges()
        if self._retired:
            retired, self._retired = self._retired, []
            for cluster in retired:
                if cluster.busy:
                    self._retired.append(cluster)
                else:
                    cluster.close()

    def __repr__(self) -> str:
        return f"<ClusterManager {len(self._configs)} clusters, {len(self.live)} live, {len(self._warming)} warming>"


def _waits(config: ClusterConfig | MakeCluster) -> bool:
    """For names to be resolved, or hosts to be asked for their health. Clusters that came while we run have been told
    to when they came."""
    return not callable(config) and (config.discovery in _BY_DNS or bool(config.health_checks))
