from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pyproxy.clusters.discovery.resolver import Resolution
from pyproxy.clusters.discovery.resolvers import Resolvers
from pyproxy.clusters.dns_cache import CacheFull, DnsCache
from pyproxy.config.dns import DnsConfig
from pyproxy.config.dns_cache import DnsCacheConfig
from pyproxy.telemetry.metrics import StatsStore
from tests.clusters.resolver import Answer, ScriptedResolver, until

OFTEN: dict[str, Any] = {"dns": DnsConfig(refresh_rate=0.004), "least_refresh": 0.0}


class Made:
    def __init__(self) -> None:
        self.caches: list[DnsCache] = []
        self.resolver = ScriptedResolver()

    def __call__(self, fields: dict[str, Any] | None = None, workers: int = 1, **answers: list[Answer]) -> DnsCache:
        loop, store = asyncio.get_running_loop(), StatsStore()
        self.resolver = ScriptedResolver(**answers)
        config = DnsCacheConfig("c", **(fields or {}))
        cache = DnsCache(config, loop, Resolvers(loop, store, only=self.resolver), store, random.Random(1), workers)
        self.caches.append(cache)
        return cache


@pytest.fixture
async def make() -> AsyncIterator[Made]:
    made = Made()
    yield made
    for cache in made.caches:
        cache.close()


async def test_a_name_is_asked_for_once_however_many_wait(make: Made) -> None:
    cache = make(one=[("10.0.0.1", "10.0.0.2")])
    names = [cache.look_up("one", 80) for _ in range(3)]
    await asyncio.gather(*(cache.wait(name) for name in names))
    assert {name.address for name in names} == {"10.0.0.1"}
    assert make.resolver.asked == [("one", "AUTO")]
    assert cache.find("one", 81) is None
    assert (cache.stats.num_hosts.value, cache.stats.dns_query_success.value) == (1, 1)


async def test_a_name_stays_at_an_address_that_it_still_has(make: Made) -> None:
    cache = make(OFTEN, one=[("10.0.0.1", "10.0.0.2"), ("10.0.0.2", "10.0.0.1"), ("10.0.0.2",)])
    changes: list[int] = []
    cache.watch(lambda: changes.append(1))
    name = cache.look_up("one", 80)
    await until(lambda: name.address == "10.0.0.2")
    assert (len(changes), cache.stats.host_address_changed.value) == (2, 2)


@pytest.mark.parametrize("bad", [None, ()], ids=["failure", "no address"])
async def test_a_bad_answer_takes_no_address_away(make: Made, bad: Answer) -> None:
    cache = make(OFTEN, one=[("10.0.0.1",), bad])
    name = cache.look_up("one", 80)
    await until(lambda: len(make.resolver.asked) > 3)
    assert name.address == "10.0.0.1"
    assert name.failure


async def test_an_answer_holds_as_long_as_it_says_but_no_shorter_than_it_may(make: Made) -> None:
    cache = make({"least_refresh": 0.0}, one=[Resolution(("10.0.0.1",), 0.002)])
    cache.look_up("one", 80)
    await until(lambda: len(make.resolver.asked) > 3)
    patient = make({"least_refresh": 3600.0}, one=[Resolution(("10.0.0.1",), 0.002)])
    await patient.wait(patient.look_up("one", 80))
    assert len(make.resolver.asked) == 1


async def test_there_are_so_many_names(make: Made) -> None:
    cache = make({"most_hosts": 1}, one=[("10.0.0.1",)])
    cache.look_up("one", 80)
    with pytest.raises(CacheFull):
        cache.look_up("two", 80)
    assert cache.look_up("one", 80)
    assert cache.stats.host_overflow.value == 1


async def test_names_that_nobody_uses_go(make: Made) -> None:
    cache = make({**OFTEN, "host_ttl": 0.02}, one=[("10.0.0.1",)], two=[("10.0.0.2",)])
    cache.look_up("one", 80)
    cache.look_up("two", 80)
    while cache.stats.host_removed.value == 0:
        cache.find("two", 80)
        await asyncio.sleep(0.001)
    assert [name.host for name in cache.names] == ["two"]


async def test_failures_are_forgotten_where_that_is_wanted(make: Made) -> None:
    cache = make({"forget_failures": True}, one=[None, ("10.0.0.1",)])
    name = cache.look_up("one", 80)
    await cache.wait(name)
    assert (name.address, cache.find("one", 80)) == ("", None)
    again = cache.look_up("one", 80)
    await cache.wait(again)
    assert again.address == "10.0.0.1"


async def test_an_answer_may_take_so_long(make: Made) -> None:
    class Stuck(ScriptedResolver):
        async def resolve(self, name: str, lookup_family: str) -> Resolution:
            await asyncio.Event().wait()
            raise AssertionError("not reached")

    loop, store = asyncio.get_running_loop(), StatsStore()
    resolvers = Resolvers(loop, store, only=Stuck())
    cache = DnsCache(DnsCacheConfig("c", patience=0.01), loop, resolvers, store, random.Random(1), 1)
    make.caches.append(cache)
    name = cache.look_up("one", 80)
    await cache.wait(name)
    assert (name.failure, cache.stats.dns_query_timeout.value) == ("timeout", 1)


async def test_so_many_may_wait_in_each_worker(make: Made) -> None:
    cache = make({"most_pending": 3}, workers=2, one=[("10.0.0.1",)])
    name = cache.look_up("one", 80)
    waiting = [asyncio.ensure_future(cache.wait(name)) for _ in range(2)]
    await asyncio.sleep(0)
    assert not cache.may_wait()
    assert cache.stats.circuit_breakers.rq_pending_open.value == 1
    await asyncio.gather(*waiting)
    assert cache.may_wait()
    assert cache.stats.dns_rq_pending_overflow.value == 1
    assert cache.stats.circuit_breakers.rq_pending_remaining.value == 2


async def test_names_are_resolved_before_anybody_asks(make: Made) -> None:
    cache = make({"resolved_early": (("one", 80),)}, one=[("10.0.0.1",)])
    await until(lambda: cache.names)
    assert cache.names[0].host == "one"
