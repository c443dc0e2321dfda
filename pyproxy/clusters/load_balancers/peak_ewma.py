"""PEAK_EWMA: of two hosts drawn by chance, the one whose latency times load is less (Finagle and Linkerd: Peak EWMA;
Envoy: envoy.load_balancing_policies.peak_ewma).

Latency is a moving average that jumps up to each peak at once and comes down in the decay time, also while the host is
not asked: so one slow answer is enough to be avoided, and nobody is avoided for ever.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from math import exp

from pyproxy import clock
from pyproxy.clusters.host import Host
from pyproxy.config.load_policy import EwmaConfig
from pyproxy.http.message import Pair, Request
from pyproxy.http.stream_info import UpstreamInfo


class EwmaLoad:
    """The latency of one host (`Host.load`), in seconds from the first byte of a request to that of its answer."""

    __slots__ = ("_at", "_decay", "_default", "_penalty", "_seconds")

    def __init__(self, config: EwmaConfig) -> None:
        self._decay = config.decay_time
        self._default = config.default_rtt
        self._penalty = config.penalty
        self._seconds = -1.0
        self._at = 0.0

    def answered(self, info: UpstreamInfo, _headers: Mapping[bytes, bytes]) -> None:
        """An answer came."""
        if info.request_sent_first and info.response_first:
            self.observe(info.response_first - info.request_sent_first)

    def trailers(self, _trailers: list[Pair]) -> None:
        """They tell nothing of latency."""

    def observe(self, seconds: float) -> None:
        now: float = clock.now
        if seconds >= self._seconds:
            self._seconds = seconds
        else:
            share = exp((self._at - now) / self._decay)
            self._seconds = self._seconds * share + seconds * (1.0 - share)
        self._at = now

    def cost(self, active: int) -> float:
        """Of one more request. A host that was never heard of gets one request at a time."""
        if self._seconds < 0:
            return self._penalty + active if active else self._default
        return self._seconds * exp((self._at - clock.now) / self._decay) * (active + 1)


class PeakEwma:
    """Costs the same for any number of hosts."""

    __slots__ = ("_count", "_hosts", "_loads", "_random")

    def __init__(self, hosts: tuple[Host, ...], rng: random.Random, config: EwmaConfig) -> None:
        self._hosts = hosts
        self._random = rng.random
        self._count = len(hosts)
        self._loads: list[EwmaLoad] = []
        for host in hosts:
            if not isinstance(host.load, EwmaLoad):
                host.load = EwmaLoad(config)
            self._loads.append(host.load)

    def choose(self, _request: Request) -> Host:
        hosts, loads, count = self._hosts, self._loads, self._count
        first = int(self._random() * count)
        if count == 1:
            return hosts[0]
        second = int(self._random() * (count - 1))
        if second >= first:
            second += 1
        one, other = hosts[first], hosts[second]
        if loads[second].cost(other.rq_active) < loads[first].cost(one.rq_active):
            return other
        return one
