"""The DNS cache of dynamic forward proxies: names that requests have asked for, resolved anew as long as they are used.

Shared by the cluster and the filters that name the same cache; each worker has its own.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from pyproxy import clock, tasks
from pyproxy.clusters.discovery.resolver import Resolution, ResolutionFailed
from pyproxy.clusters.discovery.resolvers import Resolvers
from pyproxy.config.dns_cache import DnsCacheConfig, Named
from pyproxy.telemetry.dns_stats import DnsCacheStats
from pyproxy.telemetry.metrics import StatsStore

log = logging.getLogger("pyproxy.upstream")


class CacheFull(Exception):
    """There are as many names in the cache as there may be."""


class CachedName:
    """One name with its port. `address` is empty as long as none was found; `failure` says why there is none."""

    __slots__ = ("address", "answered", "failure", "failures", "host", "port", "task", "timer", "used", "waiting")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.address = ""
        self.answered = False
        self.failure = ""
        self.failures = 0
        self.used = clock.now
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[Any] | None = None
        self.waiting: list[asyncio.Future[None]] = []

    def stop(self) -> None:
        for one in (self.timer, self.task):
            if one is not None:
                one.cancel()

    def __repr__(self) -> str:
        return f"<CachedName {self.host}:{self.port} {self.address or 'no address'}>"


class DnsCache:
    """One cache. `watch` tells of each change of an address."""

    def __init__(
        self,
        config: DnsCacheConfig,
        loop: asyncio.AbstractEventLoop,
        resolvers: Resolvers,
        stats: StatsStore,
        rng: random.Random,
        workers: int,
    ) -> None:
        self.config = config
        self._loop = loop
        self._resolver = resolvers.of(config.dns)
        self._rng = rng
        self.stats = DnsCacheStats(stats, config.name)
        self._names: dict[Named, CachedName] = {}
        self._watchers: list[Callable[[], None]] = []
        self._pending = 0
        self._most_pending = -(-config.most_pending // workers)
        self._count_pending(0)
        for host, port in config.resolved_early:
            self.look_up(host, port)

    @property
    def names(self) -> list[CachedName]:
        """Those that have an address."""
        return [name for name in self._names.values() if name.address]

    def watch(self, on_change: Callable[[], None]) -> Callable[[], None]:
        """Call `on_change` whenever `names` or an address has changed. Returns what ends that."""
        self._watchers.append(on_change)
        return lambda: self._watchers.remove(on_change)

    def find(self, host: str, port: int) -> CachedName | None:
        """A name that is there; it was used now."""
        found = self._names.get((host, port))
        if found is not None:
            found.used = clock.now
        return found

    def look_up(self, host: str, port: int) -> CachedName:
        """The same for a name that need not be there: it is asked for. Raises CacheFull."""
        found = self.find(host, port)
        if found is not None:
            return found
        if len(self._names) >= self.config.most_hosts:
            self.stats.host_overflow.value += 1
            raise CacheFull
        made = self._names[host, port] = CachedName(host, port)
        self.stats.host_added.value += 1
        self.stats.num_hosts.value = len(self._names)
        self._ask(made)
        return made

    def may_wait(self) -> bool:
        """Whether one more request may wait for an answer."""
        if self._pending < self._most_pending:
            return True
        self.stats.dns_rq_pending_overflow.value += 1
        return False

    async def wait(self, name: CachedName) -> None:
        """Until there is a first answer, good or bad."""
        if name.answered:
            return
        waiter = self._loop.create_future()
        name.waiting.append(waiter)
        self._count_pending(1)
        try:
            await waiter
        finally:
            self._count_pending(-1)

    def _count_pending(self, change: int) -> None:
        self._pending += change
        breaker = self.stats.circuit_breakers
        breaker.rq_pending_open.value = int(0 < self._pending >= self._most_pending)
        breaker.rq_pending_remaining.value = max(0, self._most_pending - self._pending)

    def _ask(self, name: CachedName) -> None:
        name.timer = None
        name.task = tasks.spawn(self._resolve(name), f"resolve {name.host}")

    def _again(self, name: CachedName) -> None:
        """The time has come to ask again, or to forget a name that nobody uses."""
        name.timer = None
        clock.tick()
        if clock.now - name.used >= self.config.host_ttl:
            self._forget(name)
        else:
            self._ask(name)

    async def _resolve(self, name: CachedName) -> None:
        config, stats = self.config, self.stats
        stats.dns_query_attempt.value += 1
        found, failure = Resolution(()), ""
        try:
            asking = self._resolver.resolve(name.host, config.dns.lookup_family)
            found = await asyncio.wait_for(asking, config.patience or None)
            failure = "" if found.addresses else "no address"
            stats.dns_query_success.value += 1  # an answer that there is no address is one (Envoy)
        except TimeoutError:
            stats.dns_query_timeout.value += 1
            stats.dns_query_failure.value += 1
            failure = "timeout"
        except ResolutionFailed as error:
            stats.dns_query_failure.value += 1
            failure = str(error)
        clock.tick()
        name.task = None
        if failure:
            log.debug("DNS cache %s: %s: %s", config.name, name.host, failure)
        self._take(name, found, failure)

    def _take(self, name: CachedName, found: Resolution, failure: str) -> None:
        """A failure takes no address away."""
        name.failure = failure
        name.failures = name.failures + 1 if failure else 0
        name.answered = True
        if found.addresses and name.address not in found.addresses:
            name.address = found.addresses[0]
            self.stats.host_address_changed.value += 1
            self._tell()
        if failure and not name.address and self.config.forget_failures:
            self._forget(name)
        else:
            name.timer = self._loop.call_later(self._delay(name, found), self._again, name)
        waiting, name.waiting = name.waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _delay(self, name: CachedName, found: Resolution) -> float:
        dns, draw = self.config.dns, self._rng.random()
        first, most = dns.failure_refresh_rate
        if name.failures and first:
            return min(max(first, most), first * 2.0 ** min(name.failures - 1, 30)) * (0.5 + 0.5 * draw)
        wait = found.ttl if found.ttl and not name.failures else dns.refresh_rate
        return max(wait, self.config.least_refresh) * (1 + 0.1 * draw)

    def _forget(self, name: CachedName) -> None:
        if self._names.pop((name.host, name.port), None) is not None:
            name.stop()
            self.stats.host_removed.value += 1
            self.stats.num_hosts.value = len(self._names)
            if name.address:
                self._tell()

    def _tell(self) -> None:
        for watcher in list(self._watchers):
            watcher()

    def close(self) -> None:
        for name in self._names.values():
            name.stop()
        self._names.clear()
        self.stats.close()

    def __repr__(self) -> str:
        return f"<DnsCache {self.config.name}, {len(self._names)} names>"


class DnsCaches:
    """All caches of a worker: whoever wants the same shares it. A cache lives as long as the worker."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        resolvers: Resolvers,
        stats: StatsStore,
        rng: random.Random,
        workers: int,
    ) -> None:
        self._make: Callable[[DnsCacheConfig], DnsCache] = lambda config: DnsCache(
            config, loop, resolvers, stats, rng, workers
        )
        self._made: dict[DnsCacheConfig, DnsCache] = {}

    def of(self, config: DnsCacheConfig) -> DnsCache:
        found = self._made.get(config)
        if found is None:
            found = self._made[config] = self._make(config)
        return found

    def close(self) -> None:
        for cache in self._made.values():
            cache.close()
        self._made.clear()

    def __repr__(self) -> str:
        return f"<DnsCaches {', '.join(config.name for config in self._made) or 'none'}>"
