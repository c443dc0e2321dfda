from __future__ import annotations

import asyncio
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pyproxy.clusters.discovery.resolver import Resolution
from pyproxy.clusters.host import Host
from pyproxy.clusters.manager import ClusterManager
from pyproxy.config.address import AddressConfig
from pyproxy.config.cluster import ClusterConfig, DiscoveryType, EndpointConfig
from pyproxy.config.dns import DnsConfig
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.tasks import DeadlineTable
from pyproxy.telemetry.metrics import StatsStore
from tests.clusters.conftest import MakeManager
from tests.clusters.hosts import REQUEST, Pool, endpoint, numbers
from tests.clusters.resolver import ScriptedResolver, until


def static(name: str, *numbers: int) -> ClusterConfig:
    return ClusterConfig(name, endpoints=tuple(endpoint(number) for number in numbers))


def dns(name: str, *names: str) -> ClusterConfig:
    endpoints = tuple(EndpointConfig(AddressConfig(each, 80)) for each in names)
    return ClusterConfig(name, DiscoveryType.STRICT_DNS, endpoints=endpoints, dns=DnsConfig(refresh_rate=0.01))


def use(manager: ClusterManager, name: str) -> tuple[Host, Pool]:
    """Choose a host of a cluster and open connections to it."""
    cluster = manager.get(name)
    assert cluster is not None
    host = cluster.choose(REQUEST)
    assert host is not None
    host.pool = pool = Pool()
    return host, pool


async def test_a_cluster_is_made_at_its_first_use(make_manager: MakeManager, store: StatsStore) -> None:
    manager = make_manager()
    manager.apply([static("a", 1), static("b", 2)])
    assert repr(manager) == "<ClusterManager 2 clusters, 0 live, 0 warming>"
    assert manager.get("a") is manager.get("a")
    assert repr(manager) == "<ClusterManager 2 clusters, 1 live, 0 warming>"
    assert manager.get("c") is None
    assert "b" in manager
    assert "c" not in manager


async def test_equal_configuration_keeps_cluster_hosts_and_connections(make_manager: MakeManager) -> None:
    manager = make_manager()
    manager.apply([static("a", 1), static("b", 2)])
    before = manager.get("a")
    _, pool = use(manager, "a")
    manager.apply([static("c", 3), static("a", 1)])
    assert manager.get("a") is before
    assert pool.state == "open"
    assert manager.get("b") is None


async def test_a_removed_cluster_drains_and_its_stats_go_when_it_is_idle(
    make_manager: MakeManager, store: StatsStore
) -> None:
    manager = make_manager()
    manager.apply([static("a", 1)])
    host, pool = use(manager, "a")
    host.rq_active = 1
    manager.apply([])
    assert manager.get("a") is None
    assert (host.removed, pool.state) == (True, "draining")
    assert numbers(store, "cluster.a")["membership_total"] == 1
    assert pool.state == "draining"
    host.rq_active = 0
    store.flush()
    assert pool.state == "closed"
    assert numbers(store, "cluster.a") == {}


async def test_a_changed_cluster_is_replaced_and_goes_on_counting(make_manager: MakeManager, store: StatsStore) -> None:
    manager = make_manager()
    manager.apply([static("a", 1)])
    before = manager.get("a")
    assert before is not None
    before.stats.upstream_rq_total.value += 5
    host, pool = use(manager, "a")
    manager.apply([replace(static("a", 1), connect_timeout=1.0)])
    after = manager.get("a")
    assert after is not None
    assert after is not before
    assert pool.state == "draining"
    assert before.choose(REQUEST) is host  # who holds the old one may still finish
    store.flush()
    after.stats.upstream_rq_total.value += 1
    assert numbers(store, "cluster.a")["upstream_rq_total"] == 6


async def test_the_old_cluster_serves_until_the_new_one_has_hosts(make_manager: MakeManager) -> None:
    gate = asyncio.Event()

    class SlowResolver(ScriptedResolver):
        async def resolve(self, name: str, lookup_family: str) -> Resolution:
            if name == "slow":
                await gate.wait()
            return await super().resolve(name, lookup_family)

    manager = make_manager(resolver=SlowResolver(quick=[("10.0.0.1",)], slow=[("10.0.0.2",)]))
    manager.apply([dns("a", "quick")])
    await manager.warm()
    before = manager.get("a")
    _, pool = use(manager, "a")
    manager.apply([dns("a", "slow")])
    assert manager.get("a") is before
    assert pool.state == "open"
    gate.set()
    await until(lambda: manager.get("a") is not before)
    assert pool.state == "draining"
    moved, _ = use(manager, "a")
    assert moved.address == "10.0.0.2:80"


async def test_warm_waits_for_names_and_leaves_static_clusters_alone(make_manager: MakeManager) -> None:
    manager = make_manager(resolver=ScriptedResolver(one=[("10.0.0.1",)], two=[None]))
    manager.apply([static("s", 9), dns("a", "one"), dns("b", "two"), dns("empty")])
    await manager.warm()
    assert repr(manager) == "<ClusterManager 4 clusters, 3 live, 0 warming>"
    host, _ = use(manager, "a")
    assert (host.address, host.hostname) == ("10.0.0.1:80", "one")
    failed = manager.get("b")
    assert failed is not None
    assert failed.choose(REQUEST) is None
    await manager.warm()


async def test_warm_does_not_wait_for_ever(make_manager: MakeManager) -> None:
    class StuckResolver(ScriptedResolver):
        async def resolve(self, name: str, lookup_family: str) -> Resolution:
            await asyncio.Event().wait()
            raise AssertionError("not reached")

    manager = make_manager(resolver=StuckResolver())
    manager.apply([dns("a", "one")])
    await manager.warm(0.01)
    assert "warming" in repr(manager.get("a"))


async def test_a_cluster_that_goes_while_it_warms_up_is_forgotten(make_manager: MakeManager) -> None:
    resolver = ScriptedResolver(one=[("10.0.0.1",)], two=[("10.0.0.2",)])
    manager = make_manager(resolver=resolver)
    manager.apply([dns("a", "one")])
    await manager.warm()
    manager.apply([dns("a", "two")])
    manager.apply([])
    await asyncio.sleep(0.01)
    assert manager.get("a") is None
    manager.apply([dns("a", "one")])
    await manager.warm()
    host, _ = use(manager, "a")
    assert host.address == "10.0.0.1:80"


async def test_close_closes_every_connection(make_manager: MakeManager) -> None:
    manager = make_manager()
    manager.apply([static("a", 1), static("b", 2)])
    _, first = use(manager, "a")
    _, second = use(manager, "b")
    manager.apply([static("b", 2)])
    manager.close()
    assert (first.state, second.state) == ("closed", "closed")
    assert manager.get("b") is None


CONFIGS = st.dictionaries(st.sampled_from("abcde"), st.sets(st.integers(0, 5), max_size=3), max_size=5)


@given(steps=st.lists(st.tuples(CONFIGS, st.sets(st.sampled_from("abcde"))), max_size=6))
def test_any_sequence_of_configurations(steps: list[tuple[dict[str, set[int]], set[str]]]) -> None:
    """A cluster is what the last configuration says, and stays the same object while that does not change."""
    loop = asyncio.new_event_loop()
    store = StatsStore()
    try:
        manager = ClusterManager(loop, store, DeadlineTable(loop), RuntimeValues())
        previous: dict[str, set[int]] = {}
        held: dict[str, object] = {}
        for configs, used in steps:
            manager.apply(static(name, *sorted(numbers)) for name, numbers in configs.items())
            for name, cluster in held.items():
                unchanged = configs.get(name) == previous[name]
                assert (name in configs and manager.get(name) is cluster) == unchanged
            for name in used:
                cluster = manager.get(name)
                assert (cluster is not None) == (name in configs)
                if cluster is not None:
                    members = {host.address for host in cluster.host_set.hosts}
                    assert members == {str(endpoint(number).address) for number in configs[name]}
            held = {name: manager.get(name) for name in used | held.keys() if name in configs}
            previous = configs
            store.flush()
        manager.close()
    finally:
        loop.close()
