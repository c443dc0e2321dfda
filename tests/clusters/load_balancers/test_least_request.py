from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.clusters.load_balancers.least_request import LeastRequest, WeightedLeastRequest
from tests.clusters.hosts import REQUEST, hosts


def test_the_busiest_of_two_is_never_preferred() -> None:
    idle, busy = members = hosts([1, 1])
    busy.rq_active = 5
    balancer = LeastRequest(members, random.Random(1), 2)
    chosen = Counter(balancer.choose(REQUEST) for _ in range(1000))
    # Drawn with replacement: busy is only taken when it is drawn twice.
    assert 650 <= chosen[idle] <= 850


def test_more_choices_find_the_idle_host_more_often() -> None:
    members = hosts([1] * 10)
    for host in members[1:]:
        host.rq_active = 1
    found = []
    for choices in (2, 5, 50):
        balancer = LeastRequest(members, random.Random(1), choices)
        found.append(sum(balancer.choose(REQUEST) is members[0] for _ in range(1000)))
    assert found == sorted(found)
    assert found[-1] > 950


@given(active=st.lists(st.integers(0, 9), min_size=1, max_size=8), seed=st.integers(0, 100))
def test_with_many_choices_the_least_busy_wins(active: list[int], seed: int) -> None:
    members = hosts([1] * len(active))
    for host, count in zip(members, active, strict=True):
        host.rq_active = count
    balancer = LeastRequest(members, random.Random(seed), 400)
    assert balancer.choose(REQUEST).rq_active == min(active)


def test_idle_hosts_share_by_weight() -> None:
    members = hosts([3, 1])
    balancer = WeightedLeastRequest(members, random.Random(1), 1.0)
    chosen = Counter(balancer.choose(REQUEST) for _ in range(400))
    assert abs(chosen[members[0]] - 300) <= 1


@pytest.mark.parametrize(("bias", "share"), [(0.0, 3 / 4), (1.0, 1 / 2), (2.0, 1 / 4)])
def test_a_busy_host_gets_less_the_greater_the_bias(bias: float, share: float) -> None:
    """Weights 3 and 1, two requests active at the first: 3 / (2 + 1)^bias against 1."""
    members = hosts([3, 1])
    members[0].rq_active = 2
    balancer = WeightedLeastRequest(members, random.Random(1), bias)
    chosen = Counter(balancer.choose(REQUEST) for _ in range(1200))
    assert chosen[members[0]] / 1200 == pytest.approx(share, abs=0.01)
