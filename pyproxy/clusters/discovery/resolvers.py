"""All resolvers of a process: clusters that want the same share one."""

from __future__ import annotations

import asyncio
from typing import Final

from pyproxy.clusters.discovery.resolver import Resolver, SystemResolver
from pyproxy.config.dns import SYSTEM, CaresConfig, DnsConfig, ResolverConfig, SystemResolverConfig
from pyproxy.telemetry.metrics import StatsStore

_KNOWS_TTL: Final = CaresConfig()


class Resolvers:
    """`default` is that of the bootstrap. Where nobody says anything the system is asked, and c-ares for those who want
    to know how long an answer holds. `only` answers everything (tests)."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stats: StatsStore,
        default: ResolverConfig | None = None,
        only: Resolver | None = None,
    ) -> None:
        self._loop = loop
        self._stats = stats
        self._default = default
        self._only = only
        self._made: dict[ResolverConfig, Resolver] = {}

    def of(self, dns: DnsConfig) -> Resolver:
        """Who is asked by somebody with this configuration."""
        if self._only is not None:
            return self._only
        config = dns.resolver or self._default or (_KNOWS_TTL if dns.respect_ttl else SYSTEM)
        found = self._made.get(config)
        if found is None:
            found = self._made[config] = self._make(config)
        return found

    def _make(self, config: ResolverConfig) -> Resolver:
        if isinstance(config, SystemResolverConfig):
            return SystemResolver(self._loop, config)
        # A library with a thread of its own, which most configurations do without.
        from pyproxy.clusters.discovery.cares import CaresResolver
        from pyproxy.telemetry.dns_stats import CaresStats

        return CaresResolver(self._loop, config, CaresStats(self._stats))

    def close(self) -> None:
        """Nobody waits for an answer any more."""
        for resolver in self._made.values():
            resolver.close()
        self._made.clear()

    def __repr__(self) -> str:
        return f"<Resolvers {', '.join(map(repr, self._made.values())) or 'none in use'}>"
