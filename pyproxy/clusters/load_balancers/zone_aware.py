"""Zone-aware routing: as much as possible stays in our own locality, without loading it more than the others (Envoy).

Of all hosts of a cluster, our locality has some share; of all proxies that are like us (the local cluster) it has
another. Where the first is not the smaller one everything stays; otherwise as much as is due, and the rest goes where
hosts outnumber proxies.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from pyproxy.clusters.host import Host
from pyproxy.config.cluster import ZoneConfig
from pyproxy.http.message import Request
from pyproxy.telemetry.cluster_stats import ClusterStats

Locality = tuple[str, str, str]
Choose = Callable[[Request], Host | None]

_WHOLE: Final = 10_000


@dataclass(frozen=True, slots=True)
class ZoneView:
    """Where we are, and who is like us: `peers` are the hosts of the local cluster, `peers_panic` that too few of them
    are well to be believed."""

    locality: Locality
    peers: tuple[Host, ...]
    peers_panic: bool
    config: ZoneConfig
    fail_on_panic: bool
    stats: ClusterStats


@dataclass(frozen=True, slots=True)
class ZonePlan:
    """`stays` of 10,000 requests go to our own locality; what leaves goes to `localities` as `bounds` (accumulated)
    say."""

    stays: int
    localities: tuple[Locality, ...]
    bounds: tuple[int, ...] = ()


def plan_zones(hosts: tuple[Host, ...], healthy: tuple[Host, ...], view: ZoneView) -> ZonePlan | None:
    """For the hosts of the first priority; None where localities are not to be looked at."""
    config, own, stats = view.config, view.locality, view.stats
    stats.lb_recalculate_zone_structures.value += 1
    upstream = _shares(healthy, config)
    localities = {host.locality for host in hosts}
    if len(localities) < 2:
        return None
    if len({host.locality for host in view.peers}) < 2 and config.force_size is None:
        return None
    if not any(host.locality == own for host in view.peers):
        stats.lb_local_cluster_not_ok.value += 1
        return None
    if len(healthy) < config.min_cluster_size:
        stats.lb_zone_cluster_too_small.value += 1
        return None
    local = _shares([host for host in view.peers if host.healthy and not host.degraded], config)
    here, ours = upstream.get(own, 0), local.get(own, 0)
    well_here = sum(host.locality == own for host in healthy)
    if own in localities and (
        here >= max(ours, 1) or (config.force_size is not None and well_here >= config.force_size)
    ):
        return ZonePlan(_WHOLE, (own,))
    stays = here * _WHOLE // ours if own in localities and ours else 0
    others = sorted(locality for locality in upstream if locality != own)
    spare = [max(0, upstream[locality] - local.get(locality, 0)) for locality in others]
    if not sum(spare):
        return ZonePlan(stays, tuple(sorted(upstream)))
    return ZonePlan(stays, tuple(others), tuple(accumulate(spare)))


def _shares(hosts: Sequence[Host], config: ZoneConfig) -> dict[Locality, int]:
    """Of 10,000, by locality."""
    counts: dict[Locality, int] = {}
    for host in hosts:
        counts[host.locality] = counts.get(host.locality, 0) + (host.weight if config.by_weight else 1)
    total = sum(counts.values())
    return {locality: _WHOLE * count // total for locality, count in counts.items()}


class ZoneAware:
    """`anywhere` chooses among all hosts, as if there were no localities."""

    __slots__ = (
        "_anywhere",
        "_bounds",
        "_chooses",
        "_enabled",
        "_fails",
        "_own",
        "_panic",
        "_random",
        "_stats",
        "_stays",
        "_total",
    )

    def __init__(
        self, plan: ZonePlan, chooses: Mapping[Locality, Choose], anywhere: Choose, view: ZoneView, rng: random.Random
    ) -> None:
        self._random = rng.random
        self._stats = view.stats
        self._enabled = view.config.enabled_percent / 100.0
        self._panic = view.peers_panic
        self._fails = view.fail_on_panic
        self._anywhere = anywhere
        self._stays = plan.stays / _WHOLE
        self._own: Choose | None = chooses.get(view.locality)
        self._chooses = [chooses[locality] for locality in plan.localities]
        self._bounds = list(plan.bounds)
        self._total = plan.bounds[-1] if plan.bounds else 0

    def choose(self, request: Request) -> Host | None:
        draw, stats, own = self._random, self._stats, self._own
        if self._enabled < 1.0 and draw() >= self._enabled:
            return self._anywhere(request)
        if self._panic:
            stats.lb_local_cluster_not_ok.value += 1
            return None if self._fails else self._anywhere(request)
        if own is not None:
            if self._stays >= 1.0:
                stats.lb_zone_routing_all_directly.value += 1
                return own(request)
            if draw() < self._stays:
                stats.lb_zone_routing_sampled.value += 1
                return own(request)
        stats.lb_zone_routing_cross_zone.value += 1
        if not self._total:  # rounding has left nothing for anybody
            stats.lb_zone_no_capacity_left.value += 1
            return self._chooses[int(draw() * len(self._chooses))](request)
        return self._chooses[bisect_right(self._bounds, int(draw() * self._total))](request)
