"""ROUND_ROBIN: hosts take turns, as many in each round as they weigh (Envoy: RoundRobin load-balancing policy)."""

from __future__ import annotations

import random
from heapq import heapreplace

from pyproxy.clusters.host import Host
from pyproxy.clusters.load_balancers.edf import INDEX_MASK, queue_from, steps_of
from pyproxy.http.message import Request


class RoundRobin:
    """Hosts of equal weight, begun at a random one."""

    __slots__ = ("_hosts", "_next")

    def __init__(self, hosts: tuple[Host, ...], rng: random.Random) -> None:
        self._hosts = hosts
        self._next = rng.randrange(len(hosts))

    def choose(self, _request: Request) -> Host:
        at = self._next
        hosts = self._hosts
        self._next = at + 1 if at + 1 < len(hosts) else 0
        return hosts[at]


class WeightedRoundRobin:
    """Hosts of unequal weight, evenly interleaved."""

    __slots__ = ("_hosts", "_queue", "_steps")

    def __init__(self, hosts: tuple[Host, ...], rng: random.Random) -> None:
        self._hosts = hosts
        self._steps = steps_of([host.weight for host in hosts])
        self._queue = queue_from(self._steps, rng)

    def choose(self, _request: Request) -> Host:
        queue = self._queue
        turn = queue[0]
        index = turn & INDEX_MASK
        heapreplace(queue, turn + self._steps[index])
        return self._hosts[index]
