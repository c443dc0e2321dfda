from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.clusters.host import HealthFlag, Host
from pyproxy.clusters.load_balancers.zone_aware import ZoneAware, ZonePlan, ZoneView, plan_zones
from pyproxy.config.cluster import ZoneConfig
from pyproxy.telemetry.cluster_stats import ClusterStats
from pyproxy.telemetry.metrics import StatsStore
from tests.clusters.hosts import REQUEST, endpoint

HERE = ("", "a", "")


def zone(name: str) -> tuple[str, str, str]:
    return ("", name, "")


def hosts_in(zones: str) -> tuple[Host, ...]:
    """One host for each letter."""
    return tuple(Host(str(at), replace(endpoint(at), zone=name)) for at, name in enumerate(zones))


def view(peers: str, *, panic: bool = False, fail: bool = False, **config: int) -> ZoneView:
    config = {"min_cluster_size": 1, **config}
    return ZoneView(HERE, hosts_in(peers), panic, ZoneConfig(**config), fail, ClusterStats(StatsStore(), "c"))


def plan(hosts: str, seen: ZoneView) -> ZonePlan | None:
    made = hosts_in(hosts)
    return plan_zones(made, made, seen)


@pytest.mark.parametrize(
    ("hosts", "peers", "expected"),
    [
        ("ab", "ab", ZonePlan(10_000, (HERE,))),
        ("aab", "ab", ZonePlan(10_000, (HERE,))),
        ("abbb", "ab", ZonePlan(5_000, (zone("b"),), (2_500,))),
        ("bc", "ab", ZonePlan(0, (zone("b"), zone("c")), (0, 5_000))),
        ("aaaabbbbbbbbcccc", "aaaabbbbcc", ZonePlan(6_250, (zone("b"), zone("c")), (1_000, 1_500))),
        ("aa", "ab", None),
        ("ab", "aa", None),
    ],
)
def test_what_stays_and_where_the_rest_goes(hosts: str, peers: str, expected: ZonePlan | None) -> None:
    assert plan(hosts, view(peers)) == expected


def test_why_localities_are_not_looked_at() -> None:
    seen = view("bc")
    assert plan("ab", seen) is None
    assert seen.stats.lb_local_cluster_not_ok.value == 1
    seen = view("ab", min_cluster_size=3)
    assert plan("ab", seen) is None
    assert (seen.stats.lb_zone_cluster_too_small.value, seen.stats.lb_recalculate_zone_structures.value) == (1, 1)


def test_all_may_be_forced_to_stay() -> None:
    assert plan("abbb", view("aaab", force_size=1)) == ZonePlan(10_000, (HERE,))
    assert plan("abbb", view("aa", force_size=1)) == ZonePlan(10_000, (HERE,))
    forced = plan("abbb", view("aaab", force_size=2))
    assert forced is not None
    assert forced.stays == 3_333


def test_those_that_are_not_well_do_not_count() -> None:
    hosts, seen = hosts_in("aabb"), view("aabb")
    hosts[0].mark(HealthFlag.FAILED_EDS_HEALTH, on=True)
    assert plan_zones(hosts, tuple(host for host in hosts if host.healthy), seen) == ZonePlan(
        6_666, (zone("b"),), (1_666,)
    )


def choices(chosen_plan: ZonePlan, seen: ZoneView, count: int = 2000) -> Counter[str]:
    hosts = hosts_in("abcd")
    chooses = {host.locality: (lambda _, host=host: host) for host in hosts[:3]}
    balancer = ZoneAware(chosen_plan, chooses, lambda _: hosts[3], seen, random.Random(1))
    found = (balancer.choose(REQUEST) for _ in range(count))
    return Counter("-" if host is None else host.zone for host in found)


def test_choices_follow_the_plan() -> None:
    seen = view("ab")
    found = choices(ZonePlan(5_000, (zone("b"), zone("c")), (1_000, 4_000)), seen)
    assert 900 < found["a"] < 1100
    assert 200 < found["b"] < 300
    stats = seen.stats
    assert stats.lb_zone_routing_sampled.value == found["a"]
    assert stats.lb_zone_routing_cross_zone.value == found["b"] + found["c"]


def test_what_is_left_by_rounding_goes_anywhere() -> None:
    seen = view("ab")
    assert set(choices(ZonePlan(0, (HERE, zone("b"))), seen)) == {"a", "b"}
    assert seen.stats.lb_zone_no_capacity_left.value == 2000


def test_only_some_requests_are_routed_by_zone() -> None:
    found = choices(ZonePlan(10_000, (HERE,)), view("ab", enabled_percent=25))
    assert 400 < found["a"] < 600
    assert found["a"] + found["d"] == 2000


@pytest.mark.parametrize(("fail", "expected"), [(False, "d"), (True, "-")])
def test_peers_that_are_not_well_tell_nothing(fail: bool, expected: str) -> None:
    seen = view("ab", panic=True, fail=fail)
    assert choices(ZonePlan(10_000, (HERE,)), seen, 3) == {expected: 3}
    assert seen.stats.lb_local_cluster_not_ok.value == 3


@given(st.text("abcd", min_size=1, max_size=40), st.text("abcd", min_size=1, max_size=40))
def test_no_zone_gets_more_than_its_share(hosts: str, peers: str) -> None:
    """All proxies together load each locality by what it has of all hosts, within what rounding loses."""
    load: Counter[str] = Counter()
    made = hosts_in(hosts)
    for own in sorted(set(peers)):
        seen = replace(view(peers), locality=zone(own))
        found = plan_zones(made, made, seen)
        if found is None:
            return
        share = peers.count(own) / len(peers)
        load[own] += share * found.stays / 10_000
        total = found.bounds[-1] if found.bounds else 0
        before = 0
        for locality, bound in zip(found.localities, found.bounds, strict=False):
            load[locality[1]] += share * (1 - found.stays / 10_000) * (bound - before) / total
            before = bound
        if not total and found.stays < 10_000:
            return  # it goes anywhere
    for name in set(hosts):
        assert load[name] <= hosts.count(name) / len(hosts) + 0.01
