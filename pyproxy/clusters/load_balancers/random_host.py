"""RANDOM: any host, as often as it weighs. (Envoy draws evenly, whatever the weights are.)"""

from __future__ import annotations

import random
from bisect import bisect
from itertools import accumulate

from pyproxy.clusters.host import Host
from pyproxy.http.message import Request


class RandomHost:
    """Hosts of equal weight."""

    __slots__ = ("_hosts", "_random")

    def __init__(self, hosts: tuple[Host, ...], rng: random.Random) -> None:
        self._hosts = hosts
        self._random = rng.random

    def choose(self, _request: Request) -> Host:
        return self._hosts[int(self._random() * len(self._hosts))]


class WeightedRandomHost:
    """Hosts of unequal weight."""

    __slots__ = ("_bounds", "_hosts", "_random", "_total")

    def __init__(self, hosts: tuple[Host, ...], rng: random.Random) -> None:
        self._hosts = hosts
        self._random = rng.random
        self._bounds = list(accumulate(host.weight for host in hosts))
        self._total = self._bounds[-1]

    def choose(self, _request: Request) -> Host:
        return self._hosts[bisect(self._bounds, int(self._random() * self._total))]
