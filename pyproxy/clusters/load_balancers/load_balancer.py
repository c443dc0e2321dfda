"""What every load balancer gives, and which one a cluster gets.

A load balancer belongs to one `HostSet`: it is made anew when the set is replaced, so it never sees a host that
has gone. It spreads over `eligible`, which is never empty.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol, assert_never

from pyproxy import clock
from pyproxy.clusters.host import Host
from pyproxy.clusters.load_balancers.bounded_load import BoundedLoad
from pyproxy.clusters.load_balancers.client_weighted import ClientSideWeighted
from pyproxy.clusters.load_balancers.least_request import FullScan, LeastRequest, WeightedLeastRequest
from pyproxy.clusters.load_balancers.maglev import Maglev
from pyproxy.clusters.load_balancers.peak_ewma import PeakEwma
from pyproxy.clusters.load_balancers.random_host import RandomHost, WeightedRandomHost
from pyproxy.clusters.load_balancers.ring_hash import RingHash
from pyproxy.clusters.load_balancers.round_robin import RoundRobin, WeightedRoundRobin
from pyproxy.clusters.load_balancers.slow_start import SlowStart
from pyproxy.clusters.load_balancers.weights import Share, shares_of
from pyproxy.config.cluster import ClusterConfig, LbPolicy, SlowStartConfig
from pyproxy.http.message import Request

Choose = Callable[[Request], Host | None]


class LoadBalancer(Protocol):
    """Picks the host of one request."""

    def choose(self, request: Request) -> Host: ...


def build_load_balancer(
    config: ClusterConfig, eligible: tuple[Host, ...], rng: random.Random, shares: list[Share] | None = None
) -> LoadBalancer:
    """The cheaper form where all hosts weigh the same. `shares` are for consistent hashing, where localities weigh."""
    weighted = len({host.weight for host in eligible}) > 1
    slow = config.slow_start
    match config.lb_policy:
        case LbPolicy.RING_HASH | LbPolicy.MAGLEV:
            return _hashing(config, shares_of(eligible) if shares is None else shares, rng)
        case LbPolicy.ROUND_ROBIN | LbPolicy.LEAST_REQUEST if slow is not None and _any_is_new(eligible, slow):
            bias = config.least_request_bias if config.lb_policy is LbPolicy.LEAST_REQUEST else 0.0
            return SlowStart(eligible, rng, slow, bias)
        case LbPolicy.ROUND_ROBIN:
            return WeightedRoundRobin(eligible, rng) if weighted else RoundRobin(eligible, rng)
        case LbPolicy.LEAST_REQUEST if weighted:
            return WeightedLeastRequest(eligible, rng, config.least_request_bias)
        case LbPolicy.LEAST_REQUEST if config.full_scan:
            return FullScan(eligible, rng)
        case LbPolicy.LEAST_REQUEST:
            return LeastRequest(eligible, rng, config.least_request_choices)
        case LbPolicy.RANDOM:
            return WeightedRandomHost(eligible, rng) if weighted else RandomHost(eligible, rng)
        case LbPolicy.CLIENT_SIDE_WEIGHTED_ROUND_ROBIN:
            return ClientSideWeighted(eligible, rng, config.orca, slow)
        case LbPolicy.PEAK_EWMA:
            return PeakEwma(eligible, rng, config.ewma)
        case LbPolicy.CLUSTER_PROVIDED:
            raise AssertionError("discovery chooses itself")
    assert_never(config.lb_policy)


def _hashing(config: ClusterConfig, shares: list[Share], rng: random.Random) -> LoadBalancer:
    hashing = config.hashing
    kind = RingHash if config.lb_policy is LbPolicy.RING_HASH else Maglev
    balancer = kind(shares, rng, hashing)
    return BoundedLoad(balancer, shares, hashing.balance_factor) if hashing.balance_factor else balancer


def _any_is_new(hosts: tuple[Host, ...], config: SlowStartConfig) -> bool:
    """Where all of them have been there for long, slow start is over until the next change."""
    return any(clock.now - host.since < config.window for host in hosts)
