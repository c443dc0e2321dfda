"""One live cluster: its hosts, which of them is next, what may be in use, what is counted.

The router takes it from the `ClusterManager`, asks `choose` for a host and the host's pool for a connection.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pyproxy.clusters import membership
from pyproxy.clusters.balance import Balance, counting_panic, no_host
from pyproxy.clusters.circuit_breakers import PRIORITIES, apply_runtime, build_breakers
from pyproxy.clusters.discovery.aggregate import AggregateDiscovery
from pyproxy.clusters.discovery.build import build_discovery
from pyproxy.clusters.discovery.dynamic import DynamicDiscovery, SubClusters
from pyproxy.clusters.discovery.resolvers import Resolvers
from pyproxy.clusters.dns_cache import DnsCaches
from pyproxy.clusters.health_checks.checker import HealthChecker
from pyproxy.clusters.host import HealthFlag, Host
from pyproxy.clusters.host_set import HostSet
from pyproxy.clusters.load_balancers.load_balancer import Choose
from pyproxy.clusters.load_balancers.zone_aware import ZoneView
from pyproxy.clusters.local_cluster import LocalCluster
from pyproxy.clusters.membership import Member
from pyproxy.clusters.outlier_detection import OutlierDetector
from pyproxy.clusters.outlier_log import OutlierLog
from pyproxy.clusters.override_host import OverrideHost
from pyproxy.clusters.peers import Note, Peers, Topic
from pyproxy.clusters.subsets import Subsets
from pyproxy.clusters.try_timers import PER_TRY_IDLE_TIMEOUT, PER_TRY_TIMEOUT
from pyproxy.config.cluster import AssignmentConfig, ClusterConfig, DiscoveryType, LbPolicy, UpstreamProtocol
from pyproxy.config.late import LateValues
from pyproxy.config.proxy_header import ProxyHeaderConfig
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.config.tls import TransportSocketMatch, UpstreamTlsConfig
from pyproxy.errors import ProxyError, ResponseFlag
from pyproxy.http.message import Request
from pyproxy.http.stream_info import UpstreamInfo
from pyproxy.network.internal_listeners import InternalListeners
from pyproxy.network.secret_watch import SecretWatch
from pyproxy.network.transport_sockets.tls_dialer import TlsDialer
from pyproxy.tasks import DeadlineTable
from pyproxy.telemetry.cluster_stats import ClusterStats
from pyproxy.telemetry.events import Events
from pyproxy.telemetry.h2_codec_stats import H2Owner
from pyproxy.telemetry.logs import AccessLogs
from pyproxy.telemetry.metrics import StatsStore

_ALPN: Final = {
    UpstreamProtocol.HTTP1: ("http/1.1",),
    UpstreamProtocol.HTTP2: ("h2",),
    UpstreamProtocol.AUTO: ("h2", "http/1.1"),
    UpstreamProtocol.DOWNSTREAM: ("h2", "http/1.1"),
}
"""What may be agreed on by ALPN."""

_SOCKET_LABELS: Final = "envoy.transport_socket_match"


@dataclass(frozen=True, slots=True)
class ClusterServices:
    """What a cluster needs of its worker, which is one of `workers`. `clusters` are all that there are."""

    loop: asyncio.AbstractEventLoop
    stats: StatsStore
    deadlines: DeadlineTable
    values: RuntimeValues
    resolvers: Resolvers
    rng: random.Random
    secrets: SecretWatch
    assignments: LateValues[AssignmentConfig]
    clusters: Any
    dns_caches: DnsCaches
    logs: AccessLogs
    events: Events
    peers: Peers
    workers: int = 1
    outlier_log: str = ""
    """Where ejections are written; empty for nowhere."""
    local: LocalCluster | None = None
    internal: InternalListeners = field(default_factory=InternalListeners)


_WEIGHED: Final = frozenset((DiscoveryType.EDS, DiscoveryType.STRICT_DNS))
"""Clusters of which Envoy tells the highest weight."""


class Cluster:
    """A cluster from its first use until it is retired.

    `choose(request)` gives a host, or None if there is none; it is replaced together with `host_set`, so do not
    keep it. `limits` is (default, high). `ready` is set once discovery has given its first answer.
    """

    __slots__ = (
        "_alt_stat_name",
        "_balance_of_all",
        "_balanced_as",
        "_by_key",
        "_checkers",
        "_dialers",
        "_discovered",
        "_discovery",
        "_gauges",
        "_metadata",
        "_outliers",
        "_provided",
        "_rebalancing",
        "_services",
        "_waiting",
        "_zones",
        "aggregate",
        "choose",
        "config",
        "deadlines",
        "dynamic",
        "h2",
        "hashes",
        "host_set",
        "internal",
        "limits",
        "loop",
        "name",
        "ready",
        "stats",
        "tells",
        "wants_more",
    )

    def __init__(self, config: ClusterConfig, services: ClusterServices) -> None:
        self.config = config
        self.name = config.name
        self.tells = config.proxy_header is not None or any(one.proxy_header for one in config.tls_matches)
        self.wants_more = self.tells or config.http.names_upstreams
        """Requests want something of their connections, so they do not share all of them."""
        self._alt_stat_name = config.alt_stat_name
        self._metadata = config.metadata
        self.loop = services.loop
        self.internal = services.internal
        self.deadlines = services.deadlines
        self.stats = ClusterStats(services.stats, config.stat_name)
        self.h2 = H2Owner(services.stats, self.stats.scope, "upstream")
        self.host_set = HostSet()
        self._balance_of_all: Balance | None = None
        self._balanced_as = config
        self.choose: Choose = counting_panic(no_host, self.stats.lb_healthy_panic)
        self.ready = False
        self.hashes = (
            config.lb_policy in (LbPolicy.RING_HASH, LbPolicy.MAGLEV) or config.discovery is DiscoveryType.AGGREGATE
        )
        """Hosts are chosen by the hash of a request."""
        self._services = services
        self._by_key: dict[str, Host] = {}
        self._dialers: dict[UpstreamTlsConfig, TlsDialer] = {}
        self._waiting: list[Callable[[], None]] = []
        self.limits, self._gauges = build_breakers(
            config, self.stats, services.values, services.events, services.workers
        )
        discovery = build_discovery(config, services, self.stats)
        self._discovery = discovery
        self._rebalancing = False
        self._outliers: OutlierDetector | None = None
        if config.outlier is not None:
            self._outliers = OutlierDetector(
                config.outlier,
                self.stats.outlier_detection,
                services.loop,
                services.rng,
                OutlierLog(config.name, services.outlier_log, services.logs, services.events),
                self.on_health_change,
                self._tell_of_host,
                services.values,
            )
        self._checkers = tuple(
            HealthChecker(one, self, self.stats.health_check, services, self._on_checked, self._settle)
            for one in config.health_checks
        )
        self._zones: ZoneView | None = None
        self._discovered = False
        self._provided: Choose | None = getattr(discovery, "choose", None)
        self.dynamic = discovery if isinstance(discovery, DynamicDiscovery | SubClusters) else None
        """Who has names resolved before a host is chosen; None where hosts are known without."""
        self.aggregate: AggregateDiscovery | None = discovery if isinstance(discovery, AggregateDiscovery) else None
        """Who chooses among other clusters, where the hosts are theirs."""

    def tell(self, info: UpstreamInfo) -> None:
        """Write down which cluster was chosen."""
        info.cluster = self.name
        info.observability_name = self._alt_stat_name
        info.cluster_metadata = self._metadata

    def start(self) -> None:
        """Begin to discover hosts; those of a STATIC cluster are there at once."""
        self.stats.warming_state.value = 1
        self._discovery.start(self)
        if self._outliers is not None or self._checkers:
            self._services.peers.tell(Topic.WANTED, self.name)

    def host(self, key: str) -> Host | None:
        """The host of a key."""
        return self._by_key.get(key)

    def host_at(self, address: str) -> Host | None:
        """The host of an address, whatever its health."""
        found = self._by_key.get(address)
        if found is not None and found.address == address:
            return found
        return next((host for host in self.host_set.hosts if host.address == address), None)

    def dialer(self, host: Host) -> TlsDialer | None:
        """How TLS is spoken to a host; None for plain text (Envoy: transport_socket_matches)."""
        match = self._socket_match(host)
        config = self.config.tls if match is None else match.tls
        if config is None:
            return None
        found = self._dialers.get(config)
        if found is None:
            found = self._dialers[config] = TlsDialer(config, self._services.secrets, _ALPN[self.config.http.protocol])
        return found

    def choose_elsewhere(self, request: Request, priorities: frozenset[int]) -> Host | None:
        """A host of another priority than these, if one can take it."""
        if self.aggregate is not None:
            return self.aggregate.choose_elsewhere(request, priorities)
        balance = self._balance_of_all
        return self.choose(request) if balance is None else balance.without(priorities)(request)

    def priority_of(self, host: Host) -> int:
        """That which `choose_elsewhere` knows."""
        return host.priority if self.aggregate is None else self.aggregate.priority_of(host)

    def balance(self) -> Balance | None:
        """How it balances now, another object after each change; None where discovery chooses."""
        self._rebalance()
        return self._balance_of_all

    def proxy_header(self, host: Host) -> ProxyHeaderConfig | None:
        """Which header goes first on a connection to a host."""
        match = self._socket_match(host)
        return self.config.proxy_header if match is None else match.proxy_header

    def passed_metadata(self, host: Host) -> dict[str, Any]:
        """What goes along to a host that is an internal listener; what it says goes before what the cluster says."""
        match = self._socket_match(host)
        passed = self.config.passed if match is None else match.passed
        found: dict[str, Any] = {}
        for of_host in (False, True):
            labels = host.metadata if of_host else self._metadata
            found.update(
                {one.name: labels[one.name] for one in passed if one.of_host is of_host and one.name in labels}
            )
        return found

    def _socket_match(self, host: Host) -> TransportSocketMatch | None:
        labels = host.metadata.get(_SOCKET_LABELS, {})
        for one in self.config.tls_matches:
            if all(name in labels and labels[name] == value for name, value in one.criteria.items()):
                return one
        return None

    def when_ready(self, callback: Callable[[], None]) -> None:
        """Call once, at the first answer of discovery, be it good or bad."""
        if self.ready:
            callback()
        else:
            self._waiting.append(callback)

    def on_members(self, members: tuple[Member, ...]) -> None:
        change = membership.diff(self._by_key, members)
        self._by_key = {host.key: host for host in change.hosts}
        if self._outliers is not None and (change.added or change.removed):
            self._outliers.watch(change.hosts)
        if change.added or change.removed:
            for checker in self._checkers:
                checker.watch(change.hosts)
        if change.rebalance or self._provided is not None:
            self._balance(change.hosts)
        if change.added or change.removed:
            self.stats.membership_change.value += 1
        self.stats.default_socket.total_match_count.value += sum(
            self._socket_match(host) is None for host in change.added
        )
        for host in change.added:
            host.home = self
        for host in change.removed:
            host.retire()

    def on_priorities(self, *, overprovisioning: int, weighted: bool) -> None:
        before = self._balanced_as
        self._balanced_as = replace(before, overprovisioning=overprovisioning, weighted_priority_health=weighted)
        if self._balanced_as != before:
            self.on_health_change()

    def on_health_change(self) -> None:
        """Some host may be chosen now that could not be before, or the other way round. Many changes in one turn cost
        one look at all hosts: before the next choice, or at the end of the turn."""
        if not self._rebalancing and self.host_set.hosts:
            self._rebalancing = True
            self.choose = self._choose_anew
            self.loop.call_soon(self._rebalance)

    def hear(self, note: Note) -> None:
        """What another worker knows of our hosts."""
        host = self._by_key.get(note.host)
        if note.topic is Topic.WANTED:
            for checker in self._checkers:
                checker.tell_all()
            if self._outliers is not None:
                self._outliers.tell_all()
        elif note.topic is Topic.TRAFFIC:
            for checker in self._checkers:
                checker.traffic = True
        elif host is not None and note.topic is Topic.CHECKED:
            if host.checker is not None:
                host.checker.hear(note.sender, note.values)
        elif host is not None and self._outliers is not None:
            self._outliers.hear(host, note.topic, note.values)

    def _tell_of_host(self, topic: Topic, host: Host, values: list[Any]) -> None:
        self._services.peers.tell(topic, self.name, host.key, values)

    def _on_checked(self, host: Host) -> None:
        """A health check has changed its mind about a host."""
        if host.flags & HealthFlag.FAILED_ACTIVE_HC:
            if self.config.close_on_failure and host.pool is not None:
                pool, host.pool = host.pool, None
                pool.close()
        elif self._outliers is not None:
            self._outliers.recovered(host)
        self.on_health_change()

    def _choose_anew(self, request: Request) -> Host | None:
        self._rebalance()
        return self.choose(request)

    def _rebalance(self) -> None:
        if self._rebalancing and self.host_set.hosts:  # or it was closed meanwhile
            self._balance(self.host_set.hosts)

    def on_settled(self) -> None:
        self._discovered = True
        if not self._checkers or not self._by_key:
            self._settle()
        for checker in self._checkers:
            checker.watch(self._by_key.values())

    def _settle(self) -> bool:
        """Hosts are known and, where they are to be asked, have been asked once. Whether that is so."""
        if self.ready or not self._discovered:
            return self.ready
        self.ready = True
        self.stats.warming_state.value = 0
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()
        return True

    def update_gauges(self) -> None:
        """Just before statistics are flushed."""
        for checker in self._checkers:
            checker.look_for_traffic()
        for gauges in self._gauges:
            gauges.update()

    def count_response(self, host: Host, status: int, info: UpstreamInfo, *, internal: bool = False) -> None:
        """A response is over. Time runs from the end of the request to the end of the response, as Envoy's does."""
        origin = self.stats.internal if internal else self.stats.external
        origin.codes[status].value += 1
        if status >= 500:
            host.rq_error += 1
        else:
            host.rq_success += 1
        if info.response_last and info.request_sent_last:
            origin.upstream_rq_time.record(max(0, int((info.response_last - info.request_sent_last) * 1000)))

    def count_canary(self, status: int, info: UpstreamInfo) -> None:
        """The response of a canary, besides `count_response`."""
        stats = self.stats.canary
        stats.codes[status].value += 1
        if info.response_last and info.request_sent_last:
            stats.upstream_rq_time.record(max(0, int((info.response_last - info.request_sent_last) * 1000)))

    def count_interim(self, status: int, *, internal: bool) -> None:
        """An informational response came; Envoy counts it as one of the upstream's."""
        origin = self.stats.internal if internal else self.stats.external
        origin.codes[status].value += 1

    def count_failure(self, host: Host | None, error: ProxyError, *, internal: bool = False) -> None:
        """There was no response: what the downstream is told counts as one. `host` is None if none was chosen."""
        if error.flag is ResponseFlag.UPSTREAM_MAX_STREAM_DURATION_REACHED:
            return  # no answer of the upstream's, to Envoy
        if error.status:
            origin = self.stats.internal if internal else self.stats.external
            origin.codes[error.status].value += 1
            if host is not None:
                host.rq_error += 1
        if error.flag is ResponseFlag.UPSTREAM_REQUEST_TIMEOUT:
            if error.details not in (PER_TRY_TIMEOUT, PER_TRY_IDLE_TIMEOUT):
                self.stats.upstream_rq_timeout.value += 1
            if host is not None:
                host.rq_timeout += 1

    def on_values(self) -> None:
        """Runtime values have changed."""
        services = self._services
        for priority, configured, limit in zip(PRIORITIES, self.config.thresholds, self.limits, strict=True):
            limit.limit(apply_runtime(configured, self.config.name, priority, services.values), services.workers)
        self._balance(self.host_set.hosts)

    def retire(self) -> None:
        """The cluster is gone from the configuration; requests that hold it may still finish on its hosts."""
        self._stop()
        for host in self.host_set.hosts:
            host.retire()

    def _choose_among(self, hosts: tuple[Host, ...]) -> Choose:
        """For some of the hosts."""
        panics = self.stats.lb_healthy_panic
        return Balance(
            self.config, hosts, min(100.0, self.panic_threshold), self._services.rng, panics, self._zones
        ).choose

    @property
    def panic_threshold(self) -> float:
        """In percent, with what the runtime says of it."""
        return self._services.values.number("upstream.healthy_panic_threshold", self.config.panic_threshold)

    def _stop(self) -> None:
        self._discovery.close()
        if self._services.local is not None:
            self._services.local.forget(self)
        if self._outliers is not None:
            self._outliers.close()
        for checker in self._checkers:
            checker.close()

    @property
    def busy(self) -> bool:
        """Requests are in flight."""
        return any(host.rq_active for host in self.host_set.hosts)

    def close(self) -> None:
        """Close everything at once."""
        self._stop()
        for dialer in self._dialers.values():
            dialer.close()
        hosts, self.host_set = self.host_set.hosts, HostSet()
        self._balance_of_all = None
        self.choose = no_host  # what fails now must not be tried again
        for host in hosts:
            host.close()
        self.h2.close()
        self.stats.close()

    def _balance(self, hosts: tuple[Host, ...]) -> None:
        self._balance_all(hosts)
        if self.config.overrides:
            self.choose = OverrideHost(self.config.overrides, hosts, self.choose).choose

    def _balance_all(self, hosts: tuple[Host, ...]) -> None:
        services, stats = self._services, self.stats
        self._rebalancing = False
        threshold = self.panic_threshold
        self._zones = None if services.local is None else services.local.view(self)
        self.host_set = host_set = HostSet(hosts, threshold)
        if self._provided is not None:
            self.choose = self._provided
        else:
            self._balance_of_all = balance = Balance(
                self._balanced_as, hosts, min(100.0, threshold), services.rng, stats.lb_healthy_panic, self._zones
            )
            self.choose = balance.choose
            if balance.places:
                self._tell_places(balance.places)
            if self.config.subsets is not None:
                self.choose = Subsets(self.config.subsets, hosts, self._choose_among, balance.choose, stats).choose
        if services.local is not None:
            services.local.changed(self)
        stats.membership_total.value = len(hosts)
        if self.config.discovery in _WEIGHED:
            stats.max_host_weight.value = max([host.weight for host in hosts], default=0)
        stats.membership_healthy.value = len(host_set.healthy)
        stats.membership_degraded.value = len(host_set.degraded)
        stats.membership_excluded.value = sum(host.excluded for host in hosts)

    def _tell_places(self, places: list[int]) -> None:
        if self.config.lb_policy is LbPolicy.RING_HASH:
            ring = self.stats.ring_hash_lb
            ring.size.value = sum(places)
            ring.min_hashes_per_host.value, ring.max_hashes_per_host.value = min(places), max(places)
        else:
            table = self.stats.maglev_lb
            table.min_entries_per_host.value, table.max_entries_per_host.value = min(places), max(places)

    def __repr__(self) -> str:
        return f"<Cluster {self.name} {self.host_set!r}{'' if self.ready else ', warming'}>"
