"""STRICT_DNS and LOGICAL_DNS clusters, as seen from the cluster."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from pyproxy.clusters.cluster import Cluster
from pyproxy.clusters.discovery.discovery import DiscoveryServices
from pyproxy.clusters.discovery.dns_name import DnsName
from pyproxy.clusters.discovery.resolver import Resolution
from pyproxy.clusters.discovery.resolvers import Resolvers
from pyproxy.config.address import AddressConfig
from pyproxy.config.cluster import ClusterConfig, DiscoveryType, EndpointConfig
from pyproxy.config.dns import DnsConfig
from pyproxy.telemetry.cluster_stats import ClusterStats
from pyproxy.telemetry.metrics import StatsStore
from tests.clusters.conftest import MakeManager
from tests.clusters.hosts import Pool
from tests.clusters.resolver import Answer, ScriptedResolver, until


def config(*names: str, logical: bool = False, **fields: Any) -> ClusterConfig:
    kind = DiscoveryType.LOGICAL_DNS if logical else DiscoveryType.STRICT_DNS
    endpoints = tuple(EndpointConfig(AddressConfig(name, 80)) for name in names)
    return ClusterConfig("c", kind, endpoints=endpoints, dns=DnsConfig(**{"refresh_rate": 0.005, **fields}))


async def warm(
    make_manager: MakeManager, config: ClusterConfig, **answers: list[Answer]
) -> tuple[Cluster, ScriptedResolver]:
    resolver = ScriptedResolver(**answers)
    manager = make_manager(resolver=resolver)
    manager.apply([config])
    await manager.warm()
    cluster = manager.get("c")
    assert cluster is not None
    return cluster, resolver


def addresses(cluster: Cluster) -> list[str]:
    return [host.address for host in cluster.host_set.hosts]


async def test_every_address_of_every_name_is_a_host(make_manager: MakeManager) -> None:
    cluster, resolver = await warm(
        make_manager, config("one", "two", lookup_family="ALL"), one=[("10.0.0.1", "::1")], two=[("10.0.0.2",)]
    )
    assert addresses(cluster) == ["10.0.0.1:80", "[::1]:80", "10.0.0.2:80"]
    assert [host.hostname for host in cluster.host_set.hosts] == ["one", "one", "two"]
    assert ("one", "ALL") in resolver.asked


async def test_an_address_that_two_names_share_is_one_host(make_manager: MakeManager) -> None:
    cluster, _ = await warm(make_manager, config("one", "two"), one=[("10.0.0.1",)], two=[("10.0.0.1",)])
    assert addresses(cluster) == ["10.0.0.1:80"]


async def test_hosts_that_stay_in_the_answer_keep_their_identity(make_manager: MakeManager) -> None:
    cluster, _ = await warm(make_manager, config("one"), one=[("10.0.0.1", "10.0.0.2"), ("10.0.0.2", "10.0.0.3")])
    gone, stays = cluster.host_set.hosts
    await until(lambda: len(cluster.host_set.hosts) == 2 and stays is cluster.host_set.hosts[0])
    assert addresses(cluster) == ["10.0.0.2:80", "10.0.0.3:80"]
    assert (gone.removed, stays.removed) == (True, False)
    assert cluster.stats.membership_change.value == 2


async def test_the_order_of_the_answer_does_not_matter(make_manager: MakeManager) -> None:
    cluster, resolver = await warm(
        make_manager, config("one"), one=[("10.0.0.1", "10.0.0.2"), ("10.0.0.2", "10.0.0.1")]
    )
    before = cluster.host_set
    await until(lambda: len(resolver.asked) >= 4)
    assert cluster.host_set is before
    assert cluster.stats.update_no_rebuild.value >= 2


@pytest.mark.parametrize("logical", [False, True])
@pytest.mark.parametrize("bad", [None, ()], ids=["failure", "empty"])
async def test_a_bad_answer_takes_no_host_away(make_manager: MakeManager, logical: bool, bad: Answer) -> None:
    cluster, resolver = await warm(make_manager, config("one", logical=logical), one=[("10.0.0.1",), bad])
    await until(lambda: len(resolver.asked) >= 4)
    assert addresses(cluster) == ["10.0.0.1:80"]
    stats = cluster.stats
    assert stats.update_attempt.value >= 3
    if bad is None or logical:
        assert stats.update_failure.value >= 2
    else:
        assert stats.update_empty.value >= 2
        assert stats.update_success.value >= 3


async def test_a_name_that_appears_later_brings_its_hosts(make_manager: MakeManager) -> None:
    cluster, _ = await warm(make_manager, config("one"), one=[None, (), ("10.0.0.1",)])
    assert cluster.ready
    assert addresses(cluster) == []
    await until(lambda: addresses(cluster) == ["10.0.0.1:80"])


async def test_failures_back_off_on_their_own_clock(make_manager: MakeManager) -> None:
    cluster, resolver = await warm(
        make_manager,
        config("one", refresh_rate=3600.0, failure_refresh_rate=(0.004, 0.01)),
        one=[None, None, None, ("10.0.0.1",)],
    )
    await until(lambda: addresses(cluster) == ["10.0.0.1:80"])
    assert len(resolver.asked) == 4
    assert cluster.stats.update_failure.value == 3


async def test_an_answer_holds_as_long_as_it_says(make_manager: MakeManager) -> None:
    cluster, resolver = await warm(
        make_manager,
        config("one", respect_ttl=True, refresh_rate=3600.0),
        one=[Resolution(("10.0.0.1",), 0.002), Resolution(("10.0.0.2",), 0.002), Resolution(("10.0.0.3",), 0.0)],
    )
    await until(lambda: addresses(cluster) == ["10.0.0.3:80"])
    assert len(resolver.asked) == 3


async def test_who_does_not_ask_how_long_asks_at_its_own_pace(make_manager: MakeManager) -> None:
    cluster, resolver = await warm(make_manager, config("one"), one=[Resolution(("10.0.0.1",), 3600.0)])
    await until(lambda: len(resolver.asked) >= 3)
    assert addresses(cluster) == ["10.0.0.1:80"]


class Draws(random.Random):
    def random(self) -> float:
        return 1.0


@pytest.mark.parametrize(
    ("fields", "waits"),
    [
        ({"refresh_rate": 10.0}, 11.0),
        ({"refresh_rate": 10.0, "jitter": 5.0}, 15.0),
        ({"refresh_rate": 10.0, "respect_ttl": True}, 44.0),
        ({"refresh_rate": 10.0, "respect_ttl": True, "jitter": 5.0}, 45.0),
    ],
)
async def test_how_long_it_waits(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], waits: float) -> None:
    loop, store = asyncio.get_running_loop(), StatsStore()
    resolvers = Resolvers(loop, store, only=ScriptedResolver(one=[Resolution(("10.0.0.1",), 40.0)]))
    services = DiscoveryServices(loop, resolvers, Draws(), ClusterStats(store, "c"))
    answered = asyncio.Event()
    name = DnsName("one", config("one", **fields), services, lambda changed: answered.set())
    waited: list[float] = []
    later = loop.call_later

    def call_later(delay: float, callback: Any, *args: Any, **options: Any) -> asyncio.TimerHandle:
        waited.append(delay)
        return later(delay, callback, *args, **options)

    monkeypatch.setattr(loop, "call_later", call_later)
    name.start()
    await answered.wait()
    assert waited == [pytest.approx(waits)]
    name.close()


async def test_a_logical_host_moves_to_the_first_address_and_keeps_its_connections(make_manager: MakeManager) -> None:
    cluster, _ = await warm(
        make_manager, config("one", logical=True), one=[("10.0.0.1", "10.0.0.2"), ("10.0.0.2", "10.0.0.1")]
    )
    (host,) = cluster.host_set.hosts
    host.pool = pool = Pool()
    assert (host.address, host.hostname) == ("10.0.0.1:80", "one")
    await until(lambda: host.address == "10.0.0.2:80")
    assert cluster.host_set.hosts == (host,)
    assert (host.pool, host.removed, pool.state) == (pool, False, "open")
    assert host.address_config == AddressConfig("10.0.0.2", 80)
    assert cluster.stats.membership_change.value == 1


async def test_nothing_is_asked_after_close(make_manager: MakeManager) -> None:
    cluster, resolver = await warm(make_manager, config("one"), one=[("10.0.0.1",)])
    await until(lambda: len(resolver.asked) >= 2)
    cluster.close()
    asked = len(resolver.asked)
    _, more = await warm(make_manager, config("one"), one=[("10.0.0.1",)])
    await until(lambda: len(more.asked) >= 5)
    assert len(resolver.asked) == asked
