from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pyproxy.clusters.load_balancers.round_robin import RoundRobin, WeightedRoundRobin
from tests.clusters.hosts import REQUEST, hosts


def test_equal_hosts_take_turns() -> None:
    members = hosts([1, 1, 1])
    balancer = RoundRobin(members, random.Random(3))
    chosen = [balancer.choose(REQUEST) for _ in range(9)]
    assert set(chosen[:3]) == set(members)
    assert chosen[:3] * 3 == chosen


@given(
    weights=st.lists(st.integers(1, 100), min_size=1, max_size=30),
    seed=st.integers(0, 10_000),
    cycles=st.integers(1, 3),
)
def test_weights_hold_in_every_cycle(weights: list[int], seed: int, cycles: int) -> None:
    members = hosts(weights)
    balancer = WeightedRoundRobin(members, random.Random(seed))
    chosen = Counter(balancer.choose(REQUEST) for _ in range(cycles * sum(weights)))
    for host in members:
        assert abs(chosen[host] - cycles * host.weight) <= 1


def test_heavy_hosts_do_not_come_in_bursts() -> None:
    members = hosts([10, 1, 1, 8])
    balancer = WeightedRoundRobin(members, random.Random(7))
    chosen = [balancer.choose(REQUEST) for _ in range(200)]
    longest = max(len(run) for run in "".join("x" if host is members[0] else " " for host in chosen).split())
    assert longest <= 2
