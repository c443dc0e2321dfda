from __future__ import annotations

import asyncio

import pytest

from pyproxy.clusters.discovery.cares import CaresResolver
from pyproxy.clusters.discovery.resolver import SystemResolver
from pyproxy.clusters.discovery.resolvers import Resolvers
from pyproxy.config.dns import SYSTEM, CaresConfig, DnsConfig, ResolverConfig
from pyproxy.telemetry.metrics import StatsStore

OWN = CaresConfig(tcp=True)


@pytest.mark.parametrize(
    ("default", "dns", "kind"),
    [
        (None, DnsConfig(), SystemResolver),
        (None, DnsConfig(respect_ttl=True), CaresResolver),
        (None, DnsConfig(resolver=OWN), CaresResolver),
        (None, DnsConfig(resolver=SYSTEM, respect_ttl=True), SystemResolver),
        (OWN, DnsConfig(), CaresResolver),
        (OWN, DnsConfig(resolver=SYSTEM), SystemResolver),
        (SYSTEM, DnsConfig(respect_ttl=True), SystemResolver),
    ],
)
async def test_who_is_asked(default: ResolverConfig | None, dns: DnsConfig, kind: type) -> None:
    resolvers = Resolvers(asyncio.get_running_loop(), StatsStore(), default)
    assert isinstance(resolvers.of(dns), kind)
    resolvers.close()


async def test_those_who_want_the_same_share_it() -> None:
    resolvers = Resolvers(asyncio.get_running_loop(), StatsStore())
    one = resolvers.of(DnsConfig(refresh_rate=1.0, resolver=OWN))
    assert resolvers.of(DnsConfig(refresh_rate=2.0, resolver=OWN)) is one
    assert resolvers.of(DnsConfig()) is not one
    resolvers.close()
