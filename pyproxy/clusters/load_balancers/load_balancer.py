"""What every load balancer gives, and which one a cluster gets.

A load balancer belongs to one `HostSet`: it is made anew when the set is replaced, so it never sees a host that
has gone. It spreads over `eligible`, which is never empty.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol, assert_never

from pyproxy.clusters.host import Host
from pyproxy.clusters.load_balancers.least_request import LeastRequest, WeightedLeastRequest
from pyproxy.clusters.load_balancers.random_host import RandomHost, WeightedRandomHost
from pyproxy.clusters.load_balancers.round_robin import RoundRobin, WeightedRoundRobin
from pyproxy.config.cluster import ClusterConfig, LbPolicy
from pyproxy.http.message import Request

Choose = Callable[[Request], Host | None]


class LoadBalancer(Protocol):
    """Picks the host of one request."""

    def choose(self, request: Request) -> Host: ...


def build_load_balancer(config: ClusterConfig, eligible: tuple[Host, ...], rng: random.Random) -> LoadBalancer:
    """The cheaper form where all hosts weigh the same."""
    weighted = len({host.weight for host in eligible}) > 1
    match config.lb_policy:
        case LbPolicy.ROUND_ROBIN:
            return WeightedRoundRobin(eligible, rng) if weighted else RoundRobin(eligible, rng)
        case LbPolicy.LEAST_REQUEST if weighted:
            return WeightedLeastRequest(eligible, rng, config.least_request_bias)
        case LbPolicy.LEAST_REQUEST:
            return LeastRequest(eligible, rng, config.least_request_choices)
        case LbPolicy.RANDOM:
            return WeightedRandomHost(eligible, rng) if weighted else RandomHost(eligible, rng)
        case LbPolicy.CLUSTER_PROVIDED:
            raise AssertionError("discovery chooses itself")
    assert_never(config.lb_policy)
