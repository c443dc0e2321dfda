from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from pyproxy.clusters.cluster import Cluster
from pyproxy.clusters.host import HealthFlag
from pyproxy.clusters.manager import ClusterManager
from pyproxy.config.cluster import ClusterConfig, DiscoveryType, LbPolicy
from tests.clusters.conftest import MakeManager
from tests.clusters.hosts import REQUEST, endpoint


def aggregate(name: str, *members: str, **fields: Any) -> ClusterConfig:
    return ClusterConfig(name, DiscoveryType.AGGREGATE, LbPolicy.CLUSTER_PROVIDED, members=members, **fields)


def static(name: str, *numbers: int, **fields: Any) -> ClusterConfig:
    return ClusterConfig(name, endpoints=tuple(endpoint(number) for number in numbers), **fields)


def live(manager: ClusterManager, name: str) -> Cluster:
    found = manager.get(name)
    assert found is not None
    return found


def chosen(cluster: Cluster, times: int = 200) -> Counter[str]:
    hosts = [cluster.choose(REQUEST) for _ in range(times)]
    return Counter("none" if host is None else host.home.name for host in hosts)


def fail(cluster: Cluster, *which: int) -> None:
    for at in which:
        cluster.host_set.hosts[at].mark(HealthFlag.FAILED_ACTIVE_HC, on=True)
    cluster.on_health_change()


async def test_the_first_member_that_is_well_takes_all(make_manager: MakeManager) -> None:
    manager = make_manager()
    manager.apply([aggregate("all", "empty", "one", "two"), static("empty"), static("one", 1, 2), static("two", 3)])
    assert chosen(live(manager, "all")) == {"one": 200}


async def test_the_next_takes_what_it_cannot(make_manager: MakeManager) -> None:
    manager = make_manager()
    manager.apply([aggregate("all", "one", "two"), static("one", 1, 2), static("two", 3)])
    everyone = live(manager, "all")
    assert chosen(everyone) == {"one": 200}
    fail(live(manager, "one"), 0)
    shares = chosen(everyone, 2000)
    assert 0.62 < shares["one"] / 2000 < 0.78  # 140 % of a half
    fail(live(manager, "one"), 1)
    assert chosen(everyone) == {"two": 200}


async def test_each_priority_of_a_member_counts_by_itself(make_manager: MakeManager) -> None:
    manager = make_manager()
    one = ClusterConfig("one", endpoints=(endpoint(1), replace(endpoint(2), priority=1)))
    manager.apply([aggregate("all", "one", "two"), one, static("two", 3)])
    everyone, first = live(manager, "all"), live(manager, "one")
    assert {host.priority for host in (everyone.choose(REQUEST) for _ in range(50)) if host} == {0}
    fail(first, 0)
    assert {host.priority for host in (everyone.choose(REQUEST) for _ in range(50)) if host} == {1}
    second = everyone.choose(REQUEST)
    assert second is not None
    assert everyone.priority_of(second) == 1
    other = everyone.choose_elsewhere(REQUEST, frozenset((1,)))
    assert other is not None
    assert (other.home.name, everyone.priority_of(other)) == ("two", 2)


async def test_members_come_and_go(make_manager: MakeManager) -> None:
    manager = make_manager()
    manager.apply([aggregate("all", "one", "two")])
    everyone = live(manager, "all")
    assert chosen(everyone) == {"none": 200}
    manager.put("two", static("two", 3))
    assert chosen(everyone) == {"two": 200}
    manager.put("one", static("one", 1))
    assert chosen(everyone) == {"one": 200}
    manager.remove("one")
    assert chosen(everyone) == {"two": 200}


async def test_an_aggregate_of_aggregates_is_one_row(make_manager: MakeManager) -> None:
    manager = make_manager()
    manager.apply(
        [aggregate("all", "some", "three"), aggregate("some", "one", "all"), static("one", 1), static("three", 3)]
    )
    everyone = live(manager, "all")
    assert chosen(everyone) == {"one": 200}
    fail(live(manager, "one"), 0)
    assert chosen(everyone) == {"three": 200}


async def test_hosts_of_all_are_tried_where_none_is_well(make_manager: MakeManager) -> None:
    manager = make_manager()
    manager.apply([aggregate("all", "one", "two"), static("one", 1), static("two", 3)])
    everyone = live(manager, "all")
    fail(live(manager, "one"), 0)
    fail(live(manager, "two"), 0)
    shares = chosen(everyone, 1000)
    assert set(shares) == {"one", "two"}


async def test_the_policy_of_a_member_is_its_own(make_manager: MakeManager) -> None:
    manager = make_manager()
    manager.apply([aggregate("all", "one"), static("one", 1, 2, 3)])
    everyone = live(manager, "all")
    addresses = [host.address for host in (everyone.choose(REQUEST) for _ in range(6)) if host is not None]
    assert len(set(addresses[:3])) == 3
    assert addresses[:3] == addresses[3:]
