"""From the hosts of a cluster to a function that chooses one: priorities, then localities, then the policy.

Made anew when hosts or their health change, so that a choice costs the same however many hosts there are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Final

from pyproxy.clusters.host import Host
from pyproxy.clusters.host_set import HostSet, Locality
from pyproxy.clusters.load_balancers.bounded_load import BoundedLoad
from pyproxy.clusters.load_balancers.load_balancer import Choose, LoadBalancer, build_load_balancer
from pyproxy.clusters.load_balancers.localities import LocalityWeighted, effective_weights
from pyproxy.clusters.load_balancers.maglev import Maglev
from pyproxy.clusters.load_balancers.ring_hash import RingHash
from pyproxy.clusters.load_balancers.weights import shares_by_locality
from pyproxy.clusters.load_balancers.zone_aware import ZoneAware, ZoneView, plan_zones
from pyproxy.clusters.priorities import Loads, PriorityHealth, spread
from pyproxy.config.cluster import ClusterConfig, LbPolicy
from pyproxy.http.message import Request
from pyproxy.telemetry.metrics import Counter

_HASHED: Final = (LbPolicy.RING_HASH, LbPolicy.MAGLEV)


class Balance:
    """How one cluster, or one subset of it, chooses among `hosts` as they are now.

    `without` is for retries that leave the priorities which were tried.
    """

    __slots__ = (
        "_config",
        "_panics",
        "_rng",
        "_threshold",
        "_without",
        "_zones",
        "choose",
        "loads",
        "places",
        "sets",
    )

    def __init__(
        self,
        config: ClusterConfig,
        hosts: tuple[Host, ...],
        threshold: float,
        rng: random.Random,
        panics: Counter,
        zones: ZoneView | None = None,
    ) -> None:
        """`zones`: our locality is preferred, among the hosts of the first priority."""
        self._config = config
        self._zones = zones
        self._threshold = threshold
        self._rng = rng
        self._panics = panics
        self.places: list[int] = []
        """Of the hosts in the ring or table that was laid out last; empty for other policies."""
        self._without: dict[frozenset[int], Choose] = {}
        count = max((host.priority for host in hosts), default=0) + 1
        members: list[list[Host]] = [[] for _ in range(count)]
        for host in hosts:
            members[host.priority].append(host)
        self.sets = [HostSet(tuple(one), threshold) for one in members]
        self.loads = self._spread(frozenset())
        self.choose: Choose = self._build(self.loads)

    def without(self, priorities: frozenset[int]) -> Choose:
        """Choose where another priority than these can take it."""
        if len(self.sets) == 1:
            return self.choose
        found = self._without.get(priorities)
        if found is None:
            found = self._without[priorities] = self._build(self._spread(priorities))
        return found

    def health(self, priority: int) -> PriorityHealth:
        """How well one priority is."""
        return _health(self.sets[priority], weighted=self._config.weighted_priority_health)

    def health_of_all(self) -> PriorityHealth:
        """How well all priorities are together."""
        hosts = HostSet(tuple(host for one in self.sets for host in one.hosts), self._threshold)
        return _health(hosts, weighted=self._config.weighted_priority_health)

    def pinned(self, priority: int) -> Callable[[bool, bool], Choose]:
        """(in panic, degraded) -> how to choose within one priority; for clusters that this one is a member of."""
        return lambda panic, degraded: self._of_priority(priority, panic=panic, degraded=degraded)

    def _spread(self, avoid: frozenset[int]) -> Loads:
        config = self._config
        health = [_health(one, weighted=config.weighted_priority_health) for one in self.sets]
        return spread(health, config.overprovisioning, self._threshold, avoid)

    def _build(self, loads: Loads) -> Choose:
        """One function for each of a hundred draws; the same for all where only one can be drawn."""
        drawn: list[Choose] = []
        for priority, share in enumerate(loads.healthy):
            if share:
                drawn += [self._of_priority(priority, panic=loads.panic[priority], degraded=False)] * share
        for priority, share in enumerate(loads.degraded):
            if share:
                drawn += [self._of_priority(priority, panic=loads.panic[priority], degraded=True)] * share
        if not drawn:
            return no_host
        if len(set(drawn)) == 1:
            return drawn[0]
        return _by_hash(drawn, self._rng) if self._config.lb_policy in _HASHED else _by_chance(drawn, self._rng)

    def _of_priority(self, priority: int, *, panic: bool, degraded: bool) -> Choose:
        hosts = self.sets[priority]
        if panic or not hosts.hosts:
            choose = self._among(hosts, hosts.hosts) if hosts.hosts and not self._config.fail_on_panic else no_host
            return counting_panic(choose, self._panics) if panic or not hosts.hosts else choose
        eligible = hosts.degraded if degraded else hosts.healthy
        if self._zones is not None and priority == 0 and not degraded and eligible:
            return self._by_zone(hosts, self._zones)
        return self._among(hosts, eligible) if eligible else no_host

    def _among(self, hosts: HostSet, eligible: tuple[Host, ...]) -> Choose:
        config, rng = self._config, self._rng
        if not config.locality_weighted:
            return self._laid_out(build_load_balancer(config, eligible, rng)).choose
        weights = effective_weights(hosts.hosts, eligible, config.overprovisioning)
        if not weights:
            return build_load_balancer(config, eligible, rng).choose
        if config.lb_policy in _HASHED:
            shares = shares_by_locality(eligible, weights)
            return self._laid_out(build_load_balancer(config, eligible, rng, shares)).choose
        by_locality = {
            locality: build_load_balancer(config, tuple(h for h in eligible if h.locality == locality), rng).choose
            for locality in weights
        }
        return LocalityWeighted(weights, by_locality, rng).choose

    def _laid_out(self, balancer: LoadBalancer) -> LoadBalancer:
        if isinstance(balancer, Maglev | RingHash | BoundedLoad):
            self.places = balancer.places()
        return balancer

    def _by_zone(self, hosts: HostSet, zones: ZoneView) -> Choose:
        anywhere = self._among(hosts, hosts.healthy)
        plan = plan_zones(hosts.hosts, hosts.healthy, zones)
        if plan is None:
            return anywhere
        members: dict[Locality, list[Host]] = {}
        for host in hosts.healthy:
            members.setdefault(host.locality, []).append(host)
        chooses: dict[Locality, Choose] = {
            locality: build_load_balancer(self._config, tuple(some), self._rng).choose
            for locality, some in members.items()
        }
        return ZoneAware(plan, chooses, anywhere, zones, self._rng).choose

    def __repr__(self) -> str:
        return f"<Balance {self.sets!r} {self.loads!r}>"


def no_host(_request: Request) -> None:
    """There is nobody to choose."""
    return


def eligible_of(sets: Iterable[HostSet]) -> tuple[Host, ...]:
    return tuple(host for one in sets for host in one.eligible)


def _health(hosts: HostSet, *, weighted: bool) -> PriorityHealth:
    excluded = tuple(host for host in hosts.hosts if host.excluded)
    counted = len(hosts.hosts) - len(excluded)
    healthy, degraded = len(hosts.healthy), len(hosts.degraded)
    if not weighted:
        return PriorityHealth(len(hosts.hosts), counted, healthy, degraded, counted, healthy, degraded)
    return PriorityHealth(
        len(hosts.hosts),
        counted,
        healthy,
        degraded,
        sum(host.weight for host in hosts.hosts if not host.excluded),
        sum(host.weight for host in hosts.healthy),
        sum(host.weight for host in hosts.degraded),
    )


def _by_chance(drawn: list[Choose], rng: random.Random) -> Choose:
    draw, count = rng.random, len(drawn)

    def choose(request: Request) -> Host | None:
        return drawn[int(draw() * count)](request)

    return choose


def _by_hash(drawn: list[Choose], rng: random.Random) -> Choose:
    """The same request finds the same priority; one without a hash gets one by chance."""

    def choose(request: Request) -> Host | None:
        info = request.info
        if info.hash < 0:
            info.hash = rng.getrandbits(64)
        return drawn[info.hash % 100](request)

    return choose


def counting_panic(choose: Choose, panics: Counter) -> Choose:
    """Envoy counts each choice in panic; a cluster without hosts is in panic too."""

    def choose_in_panic(request: Request) -> Host | None:
        panics.value += 1
        return choose(request)

    return choose_in_panic
