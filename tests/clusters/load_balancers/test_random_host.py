from __future__ import annotations

import random
from collections import Counter

import pytest

from pyproxy.clusters.load_balancers.random_host import RandomHost, WeightedRandomHost
from tests.clusters.hosts import REQUEST, hosts


def test_equal_hosts_are_drawn_evenly() -> None:
    members = hosts([1, 1, 1, 1])
    balancer = RandomHost(members, random.Random(1))
    chosen = Counter(balancer.choose(REQUEST) for _ in range(8000))
    assert all(abs(chosen[host] - 2000) < 200 for host in members)


def test_hosts_are_drawn_as_they_weigh() -> None:
    members = hosts([1, 2, 7])
    balancer = WeightedRandomHost(members, random.Random(1))
    chosen = Counter(balancer.choose(REQUEST) for _ in range(10_000))
    for host in members:
        assert chosen[host] / 1000 == pytest.approx(host.weight, abs=0.3)
