"""LEAST_REQUEST: the host with the fewest active requests (Envoy: LeastRequest load-balancing policy)."""

from __future__ import annotations

import random
from heapq import heapreplace

from pyproxy.clusters.host import Host
from pyproxy.clusters.load_balancers.edf import INDEX_MASK, queue_from, steps_of
from pyproxy.http.message import Request


class LeastRequest:
    """Hosts of equal weight: the best of some that are drawn at random, with replacement as Envoy does.

    Two choices are nearly as good as a look at all of them (Mitzenmacher, The Power of Two Choices).
    """

    __slots__ = ("_count", "_hosts", "_others", "_random")

    def __init__(self, hosts: tuple[Host, ...], rng: random.Random, choices: int) -> None:
        self._hosts = hosts
        self._random = rng.random
        self._count = len(hosts)
        self._others = range(choices - 1)

    def choose(self, _request: Request) -> Host:
        hosts = self._hosts
        draw = self._random
        count = self._count
        best = hosts[int(draw() * count)]
        for _ in self._others:
            other = hosts[int(draw() * count)]
            if other.rq_active < best.rq_active:
                best = other
        return best


class FullScan:
    """The best of all hosts; of those that are equal, any (Envoy: FULL_SCAN). Costs a look at each."""

    __slots__ = ("_hosts", "_random")

    def __init__(self, hosts: tuple[Host, ...], rng: random.Random) -> None:
        self._hosts = hosts
        self._random = rng.random

    def choose(self, _request: Request) -> Host:
        hosts = self._hosts
        least = min([host.rq_active for host in hosts])
        best = [host for host in hosts if host.rq_active == least]
        return best[int(self._random() * len(best))]


class WeightedLeastRequest:
    """Hosts of unequal weight: turns as in round robin, but a host waits longer the busier it is.

    Envoy's formula: weight / (active requests + 1) ^ active_request_bias, taken when the host is chosen.
    """

    __slots__ = ("_bias", "_hosts", "_queue", "_steps")

    def __init__(self, hosts: tuple[Host, ...], rng: random.Random, bias: float) -> None:
        self._hosts = hosts
        self._bias = bias
        self._steps = steps_of([host.weight for host in hosts])
        self._queue = queue_from(self._steps, rng)

    def choose(self, _request: Request) -> Host:
        queue = self._queue
        turn = queue[0]
        index = turn & INDEX_MASK
        host = self._hosts[index]
        # A whole number of steps keeps the index in the low bits.
        factor = host.rq_active + 1
        if self._bias == 1.0:
            wait = self._steps[index] * factor
        else:
            wait = int(self._steps[index] * factor**self._bias) & ~INDEX_MASK
        heapreplace(queue, turn + wait)
        return host
