"""Consistent hashing with a bound: a host that has too much to do passes requests on to others.

Mirrokni et al., Consistent Hashing with Bounded Loads (2016); which other host, a sequence says that the hash begins
(Envoy: hash_balance_factor).
"""

from __future__ import annotations

import random
from math import ceil

from pyproxy.clusters.host import Host
from pyproxy.clusters.load_balancers.maglev import Maglev
from pyproxy.clusters.load_balancers.ring_hash import RingHash
from pyproxy.clusters.load_balancers.weights import Share
from pyproxy.http.message import Request


class BoundedLoad:
    """`factor` is what a host may have at once, in percent of its share."""

    __slots__ = ("_factor", "_hashing", "_shares", "_weights")

    def __init__(self, hashing: RingHash | Maglev, shares: list[Share], factor: int) -> None:
        self._hashing = hashing
        self._shares = shares
        self._weights = {share.host: share.weight for share in shares}
        self._factor = factor

    def places(self) -> list[int]:
        """How many places each host has."""
        return self._hashing.places()

    def choose(self, request: Request) -> Host:
        first = self._hashing.choose(request)
        slots = -(-(sum(share.host.rq_active for share in self._shares) + 1) * self._factor // 100)
        best, least = first, _load(first, self._weights[first], slots)
        if least <= 1.0:
            return first
        order = list(self._shares)
        random.Random(request.info.hash).shuffle(order)
        for host, weight in order:
            load = _load(host, weight, slots)
            if load <= 1.0:
                return host
            if load < least:
                best, least = host, load
        return best


def _load(host: Host, weight: float, slots: int) -> float:
    return host.rq_active / max(1, ceil(slots * weight))
