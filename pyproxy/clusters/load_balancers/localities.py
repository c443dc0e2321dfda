"""Locality-weighted balancing: first a locality by its weight and health, then a host of it (Envoy)."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Callable, Mapping
from itertools import accumulate

from pyproxy.clusters.host import Host
from pyproxy.http.message import Request

Locality = tuple[str, str, str]
Choose = Callable[[Request], Host | None]


def effective_weights(
    all_hosts: tuple[Host, ...], eligible: tuple[Host, ...], overprovisioning: int
) -> dict[Locality, float]:
    """The weight of each locality times the share of it that is well; some more than that may be ill without loss."""
    total: dict[Locality, int] = {}
    well: dict[Locality, int] = {}
    weights: dict[Locality, int] = {}
    for host in all_hosts:
        total[host.locality] = total.get(host.locality, 0) + (not host.excluded)
        weights[host.locality] = host.locality_weight
    for host in eligible:
        well[host.locality] = well.get(host.locality, 0) + 1
    return {
        locality: weights[locality] * min(1.0, overprovisioning / 100.0 * well[locality] / total[locality])
        for locality in total
        if total[locality] and well.get(locality) and weights[locality]
    }


class LocalityWeighted:
    """Draws a locality as often as it weighs, and lets its own balancer choose."""

    __slots__ = ("_bounds", "_chooses", "_random", "_total")

    def __init__(
        self, weights: Mapping[Locality, float], chooses: Mapping[Locality, Choose], rng: random.Random
    ) -> None:
        self._random = rng.random
        self._bounds = list(accumulate(weights.values()))
        self._chooses = [chooses[locality] for locality in weights]
        self._total = self._bounds[-1]

    def choose(self, request: Request) -> Host | None:
        at = bisect(self._bounds, self._random() * self._total)
        return self._chooses[min(at, len(self._chooses) - 1)](request)
