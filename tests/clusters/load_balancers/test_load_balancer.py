"""What all policies have in common, and which form a cluster gets."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyproxy.clusters.host import Host
from pyproxy.clusters.host_set import HostSet
from pyproxy.clusters.load_balancers.load_balancer import LoadBalancer, build_load_balancer
from pyproxy.clusters.membership import diff, members_of
from pyproxy.config.cluster import ClusterConfig, HashingConfig, LbPolicy
from tests.clusters.hosts import REQUEST, endpoint, hosts

SMALL = HashingConfig(most_ring=20_000, table_size=2003)
POLICIES = [policy for policy in LbPolicy if policy is not LbPolicy.CLUSTER_PROVIDED]
MEASURED = (LbPolicy.PEAK_EWMA, LbPolicy.CLIENT_SIDE_WEIGHTED_ROUND_ROBIN)
# What discovery says of weights is not asked for.


@pytest.mark.parametrize("policy", POLICIES)
@given(weights=st.lists(st.integers(1, 50), min_size=1, max_size=20), seed=st.integers(0, 1000))
def test_every_host_is_chosen_sooner_or_later(policy: LbPolicy, weights: list[int], seed: int) -> None:
    members = hosts(weights)
    balancer = build_load_balancer(ClusterConfig("c", lb_policy=policy, hashing=SMALL), members, random.Random(seed))
    chosen = {balancer.choose(REQUEST).key for _ in range(max(200, 40 * sum(weights)))}
    assert chosen == {host.key for host in members}


@pytest.mark.parametrize("policy", POLICIES)
def test_workers_do_not_all_begin_with_the_same_host(policy: LbPolicy) -> None:
    for weights in ([1] * 10, list(range(1, 11))):
        members = hosts(weights)
        first = {
            build_load_balancer(ClusterConfig("c", lb_policy=policy, hashing=SMALL), members, random.Random(seed))
            .choose(REQUEST)
            .key
            for seed in range(50)
        }
        assert len(first) >= 5


@pytest.mark.parametrize("policy", [one for one in POLICIES if one not in MEASURED])
def test_huge_weights(policy: LbPolicy) -> None:
    """Envoy allows weights of 32 bits."""
    members = hosts([2**32 - 1, 1, 2**31])
    balancer = build_load_balancer(ClusterConfig("c", lb_policy=policy, hashing=SMALL), members, random.Random(1))
    chosen = [balancer.choose(REQUEST) for _ in range(3000)]
    assert chosen.count(members[1]) <= 1
    assert 1900 <= chosen.count(members[0]) <= 2100


class Balancing(RuleBasedStateMachine):
    """Hosts come, go, fall ill and recover while requests are balanced over them."""

    def __init__(self) -> None:
        super().__init__()
        self.by_key: dict[str, Host] = {}
        self.gone: set[Host] = set()
        self.host_set = HostSet()
        self.balancer: LoadBalancer | None = None
        self.endpoints: dict[int, tuple[int, bool]] = {}

    @initialize(policy=st.sampled_from(POLICIES), bias=st.sampled_from([0.0, 0.5, 1.0, 2.0]), seed=st.integers(0, 99))
    def policy(self, policy: LbPolicy, bias: float, seed: int) -> None:
        self.config = ClusterConfig("c", lb_policy=policy, least_request_bias=bias, hashing=SMALL)
        self.rng = random.Random(seed)

    @rule(number=st.integers(0, 12), weight=st.integers(1, 5), healthy=st.booleans())
    def put(self, number: int, weight: int, healthy: bool) -> None:
        self.endpoints[number] = (weight, healthy)
        self.update()

    @rule(number=st.integers(0, 12))
    def drop(self, number: int) -> None:
        self.endpoints.pop(number, None)
        self.update()

    def update(self) -> None:
        listed = [endpoint(n, weight, healthy=healthy) for n, (weight, healthy) in self.endpoints.items()]
        change = diff(self.by_key, members_of(listed))
        kept = {host.key: host for host in self.by_key.values() if host not in change.removed}
        self.by_key = {host.key: host for host in change.hosts}
        assert all(self.by_key[key] is host for key, host in kept.items())
        self.gone |= set(change.removed)
        self.host_set = HostSet(change.hosts)
        eligible = self.host_set.eligible
        self.balancer = build_load_balancer(self.config, eligible, self.rng) if eligible else None

    @precondition(lambda self: self.balancer is not None)
    @rule(times=st.integers(1, 30), finish=st.booleans())
    def request(self, times: int, finish: bool) -> None:
        assert self.balancer is not None
        for _ in range(times):
            host = self.balancer.choose(REQUEST)
            assert host in self.host_set.hosts
            assert host not in self.gone
            assert host.healthy or self.host_set.panic
            host.rq_active += not finish

    @invariant()
    def panic_only_when_most_are_ill(self) -> None:
        healthy = sum(healthy for _, healthy in self.endpoints.values())
        assert self.host_set.panic == (2 * healthy < len(self.endpoints))
        assert bool(self.host_set.eligible) == bool(self.endpoints)


TestBalancing = Balancing.TestCase
