"""CLIENT_SIDE_WEIGHTED_ROUND_ROBIN: turns by what hosts say of their load (gRFC A58; Envoy:
client_side_weighted_round_robin).

A host weighs as many requests per second as it would serve at full load. One that has not said so for long enough, or
not lately, weighs as the median of the others does.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from heapq import heapreplace
from typing import Final

from pyproxy import clock
from pyproxy.clusters.host import Host
from pyproxy.clusters.load_balancers.edf import INDEX_MASK, queue_from, steps_of
from pyproxy.clusters.load_balancers.slow_start import share_of
from pyproxy.clusters.orca_report import METRICS, METRICS_BIN, BadReport, LoadReport, report_of
from pyproxy.config.cluster import SlowStartConfig
from pyproxy.config.load_policy import OrcaConfig
from pyproxy.http.message import Pair, Request
from pyproxy.http.stream_info import UpstreamInfo

log = logging.getLogger("pyproxy.clusters.orca")

_MOST_WEIGHT: Final = (1 << 32) - 1
_FINER: Final = 100
"""So that a part of a weight of 1 is a whole number."""


class OrcaLoad:
    """What one host has said (`Host.load`)."""

    __slots__ = ("_config", "_last", "_reported", "_since", "weight")

    def __init__(self, config: OrcaConfig) -> None:
        self._config = config
        self._reported = 0
        self._since = self._last = -1.0
        self.weight = 1
        """As it is used now."""

    def answered(self, _info: UpstreamInfo, headers: Mapping[bytes, bytes]) -> None:
        """An answer came, with these headers."""
        self._take(headers)

    def trailers(self, trailers: list[Pair]) -> None:
        """They may have it, too."""
        self._take(dict(trailers))

    def _take(self, headers: Mapping[bytes, bytes]) -> None:
        if METRICS not in headers and METRICS_BIN not in headers:
            return
        try:
            report = report_of(headers)
        except BadReport as error:
            log.debug("a report of load is not understood: %s", error)
            return
        weight = 0 if report is None else weight_of(report, self._config)
        if weight:
            self._reported = weight
            self._last = clock.now
            if self._since < 0:
                self._since = clock.now

    def current(self) -> int:
        """What it weighs by its own word; 0 where that does not count (blackout period, expiration period)."""
        if self._since < 0 or clock.now - self._since < self._config.blackout:
            return 0
        if clock.now - self._last > self._config.expiration:
            self._since = -1.0
            return 0
        return self._reported


def weight_of(report: LoadReport, config: OrcaConfig) -> int:
    """0 where the report says nothing of use."""
    rate = report.rps_fractional
    if rate <= 0:
        return 0
    used = report.most(config.metrics)
    if used <= 0:
        used = report.application_utilization
    if used <= 0:
        used = report.cpu_utilization
    used += config.error_penalty * report.eps / rate
    return min(_MOST_WEIGHT, int(rate / used)) if used > 0 else 0


class ClientSideWeighted:
    """Weights are looked at anew once in each update period, by the first choice after it."""

    __slots__ = ("_config", "_due", "_hosts", "_loads", "_queue", "_rng", "_slow", "_steps", "_weights")

    def __init__(
        self, hosts: tuple[Host, ...], rng: random.Random, config: OrcaConfig, slow: SlowStartConfig | None = None
    ) -> None:
        self._config = config
        self._slow = slow
        self._rng = rng
        start = rng.randrange(len(hosts))  # so that workers do not march in step
        self._hosts = hosts = hosts[start:] + hosts[:start]
        self._loads: list[OrcaLoad] = []
        for host in hosts:
            if not isinstance(host.load, OrcaLoad):
                host.load = OrcaLoad(config)
            self._loads.append(host.load)
        self._weights: list[int] = []
        self._due = 0.0
        self._steps: list[int] = []
        self._queue: list[int] = []
        self._weigh()

    def choose(self, _request: Request) -> Host:
        if clock.now >= self._due:
            self._weigh()
        queue = self._queue
        turn = queue[0]
        index = turn & INDEX_MASK
        heapreplace(queue, turn + self._steps[index])
        return self._hosts[index]

    def _weigh(self) -> None:
        self._due = clock.now + self._config.update_period
        said = [load.current() for load in self._loads]
        default = median([weight for weight in said if weight])
        weights = [weight or default for weight in said]
        for load, weight in zip(self._loads, weights, strict=True):
            load.weight = weight
        slow = self._slow
        if slow is not None:
            pairs = zip(weights, self._hosts, strict=True)
            weights = [max(1, int(weight * _FINER * share_of(host, slow))) for weight, host in pairs]
        if weights == self._weights:
            return
        self._weights = weights
        self._steps = steps_of(weights)
        self._queue = queue_from(self._steps, self._rng)


def median(weights: list[int]) -> int:
    """The mean of the two middle ones where their number is even; 1 where there are none."""
    if not weights:
        return 1
    weights.sort()
    middle = len(weights) // 2
    return weights[middle] if len(weights) % 2 else (weights[middle - 1] + weights[middle]) // 2
