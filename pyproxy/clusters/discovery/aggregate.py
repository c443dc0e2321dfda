"""AGGREGATE: a cluster of clusters. The first of them that is well takes the load, then the next.

The priorities of all members in a row are like those of one cluster: healthy shares, overprovisioning, panic. Within a
priority the member's own policy chooses. Members are found by name at each choice, so they may come and go.
Envoy: Aggregate Cluster.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pyproxy.clusters.balance import Balance, no_host
from pyproxy.clusters.discovery.discovery import Discovering
from pyproxy.clusters.host import Host
from pyproxy.clusters.load_balancers.load_balancer import Choose
from pyproxy.clusters.priorities import PriorityHealth, spread
from pyproxy.config.cluster import ClusterConfig, LbPolicy
from pyproxy.http.message import Request

if TYPE_CHECKING:
    from pyproxy.clusters.cluster import Cluster

Find = Callable[[str], "Cluster | None"]
Member = tuple["Cluster", "Balance | None"]
_WELL = PriorityHealth(1, 1, 1, 0, 1, 1, 0)
"""Of a member that makes its hosts when it is asked for them."""


class _Level(NamedTuple):
    """One priority of one member."""

    cluster: Cluster
    priority: int
    health: PriorityHealth
    choose: Callable[[bool, bool], Choose]
    """(in panic, degraded) -> how"""


class AggregateDiscovery:
    """Has no hosts of its own: `choose` gives one of a member."""

    def __init__(self, config: ClusterConfig, find: Find, rng: random.Random) -> None:
        self._names = config.members
        self._threshold = config.panic_threshold
        self._overprovisioning = config.overprovisioning
        self._find = find
        self._rng = rng
        self._seen: list[Member] = []
        self._levels: list[_Level] = []
        self._drawn: dict[frozenset[int], list[Choose]] = {}

    def start(self, cluster: Discovering) -> None:
        cluster.on_members(())
        cluster.on_settled()

    def close(self) -> None:
        self._find = lambda _: None

    def choose(self, request: Request) -> Host | None:
        return self.choose_elsewhere(request, frozenset())

    def choose_elsewhere(self, request: Request, priorities: frozenset[int]) -> Host | None:
        """A host of another priority than these (`priority_of`), if one can take it."""
        members = self.members(set())
        if members != self._seen:
            self._seen, self._drawn = members, {}
            self._levels = [level for member in members for level in _levels(*member)]
        drawn = self._drawn.get(priorities)
        if drawn is None:
            drawn = self._drawn[priorities] = self._draw(priorities)
        value = request.info.hash
        return drawn[value % 100 if value >= 0 else int(self._rng.random() * 100)](request)

    def priority_of(self, host: Host) -> int:
        """Which one in the row of all priorities a host belongs to."""
        for at, level in enumerate(self._levels):
            if level.cluster is host.home and level.priority in (host.priority, _ALL):
                return at
        return -1

    def members(self, seen: set[str]) -> list[Member]:
        """All that there are, those of members that are aggregates in their place."""
        found: list[Member] = []
        for name in self._names:
            cluster = None if name in seen else self._find(name)
            if cluster is None:
                continue
            seen.add(name)
            inner = cluster.aggregate
            if inner is None:
                found.append((cluster, cluster.balance()))
            else:
                found += inner.members(seen)
        return found

    def _draw(self, avoid: frozenset[int]) -> list[Choose]:
        """One function for each of a hundred draws."""
        levels = self._levels
        if not levels:
            return [no_host] * 100
        loads = spread([level.health for level in levels], self._overprovisioning, self._threshold, avoid)
        drawn: list[Choose] = []
        for level, healthy, degraded, panic in zip(levels, loads.healthy, loads.degraded, loads.panic, strict=True):
            if healthy:
                drawn += [level.choose(panic, False)] * healthy
            if degraded:
                drawn += [level.choose(panic, True)] * degraded
        return drawn or [no_host] * 100

    def __repr__(self) -> str:
        return f"<AggregateDiscovery {', '.join(self._names)}>"


_ALL = -1
"""Stands for all priorities of a member that balances in a way of its own."""


def _levels(cluster: Cluster, balance: Balance | None) -> list[_Level]:
    if cluster.config.lb_policy is LbPolicy.CLUSTER_PROVIDED:
        return [_Level(cluster, _ALL, _WELL, lambda panic, degraded: cluster.choose)]
    if balance is None:  # there was never a host
        return []
    if cluster.config.subsets is not None:
        return [_Level(cluster, _ALL, balance.health_of_all(), lambda panic, degraded: cluster.choose)]
    made = []
    for priority, hosts in enumerate(balance.sets):
        if hosts.hosts:
            made.append(_Level(cluster, priority, balance.health(priority), balance.pinned(priority)))
    return made
