"""Slow start: a host that is new, or healthy again, gets its share little by little (Envoy: Slow start mode).

Its weight is scaled by max(least, (time since it came / window) ^ (1 / aggression)) while the window lasts.
"""

from __future__ import annotations

import random
from heapq import heapreplace

from pyproxy import clock
from pyproxy.clusters.host import Host
from pyproxy.clusters.load_balancers.edf import INDEX_MASK, queue_from, steps_of
from pyproxy.config.cluster import SlowStartConfig
from pyproxy.http.message import Request


class SlowStart:
    """Turns as in round robin; with a `bias` above 0 a busy host waits longer, as in least request."""

    __slots__ = ("_bias", "_config", "_hosts", "_queue", "_steps")

    def __init__(self, hosts: tuple[Host, ...], rng: random.Random, config: SlowStartConfig, bias: float) -> None:
        self._hosts = hosts
        self._config = config
        self._bias = bias
        self._steps = steps_of([host.weight for host in hosts])
        self._queue = queue_from(self._steps, rng)

    def choose(self, _request: Request) -> Host:
        queue = self._queue
        turn = queue[0]
        index = turn & INDEX_MASK
        host = self._hosts[index]
        wait = self._steps[index] / share_of(host, self._config)
        if self._bias:
            wait *= (host.rq_active + 1) ** self._bias
        heapreplace(queue, turn + (int(wait) & ~INDEX_MASK))
        return host


def share_of(host: Host, config: SlowStartConfig) -> float:
    """How much of its weight a host gets now, up to 1."""
    age = clock.now - host.since
    if age >= config.window:
        return 1.0
    factor: float = (max(age, 0.001) / config.window) ** (1.0 / config.aggression)
    return max(config.least_percent / 100.0, factor, 0.0001)
