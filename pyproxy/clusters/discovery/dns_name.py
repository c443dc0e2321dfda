"""One DNS name that is resolved again and again.

A failed or an empty answer never takes addresses away: what was good a moment ago is more likely to work than
nothing. (Envoy empties a STRICT_DNS cluster when its name has gone.)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pyproxy import tasks
from pyproxy.clusters.discovery.discovery import DiscoveryServices
from pyproxy.clusters.discovery.resolver import ResolutionFailed
from pyproxy.config.cluster import ClusterConfig, DiscoveryType

log = logging.getLogger("pyproxy.upstream")

JITTER = 0.1
"""Refreshes come up to this share late, so that workers and proxies do not ask all at once, unless `dns_jitter` says
by how much."""


class DnsName:
    """Asks at once, then every `dns_refresh_rate`, or when the answer is too old (`respect_dns_ttl`); after a failure
    with back-off (`dns_failure_refresh_rate`).

    `addresses` is the last good answer; its order counts for a logical name. `on_answer` is called after
    each attempt with whether `addresses` changed.
    """

    __slots__ = (
        "_config",
        "_failures",
        "_logical",
        "_on_answer",
        "_resolver",
        "_services",
        "_stats",
        "_task",
        "_timer",
        "_ttl",
        "addresses",
        "answered",
        "name",
    )

    def __init__(
        self,
        name: str,
        config: ClusterConfig,
        services: DiscoveryServices,
        on_answer: Callable[[bool], None],
    ) -> None:
        self.name = name
        self.addresses: tuple[str, ...] = ()
        self.answered = False
        self._config = config
        self._logical = config.discovery is DiscoveryType.LOGICAL_DNS
        self._resolver = services.resolvers.of(config.dns)
        self._services = services
        self._ttl = 0.0
        self._stats = services.stats
        self._on_answer = on_answer
        self._failures = 0
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = None
        self._task = tasks.spawn(self._ask(), f"resolve {self.name}")

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    async def _ask(self) -> None:
        stats = self._stats
        stats.update_attempt.value += 1
        changed = False
        try:
            found, ttl = await self._resolver.resolve(self.name, self._config.dns.lookup_family)
            if not found and self._logical:
                raise ResolutionFailed(f"{self.name}: no address")
        except ResolutionFailed as error:
            log.debug("cluster %s: %s", self._config.name, error)
            stats.update_failure.value += 1
            self._failures += 1
        else:
            stats.update_success.value += 1
            self._failures = 0
            self._ttl = ttl if found else 0.0
            changed = self._take(found)
        self.answered = True
        self._task = None
        self._timer = self._services.loop.call_later(self._delay(), self.start)
        self._on_answer(changed)

    def _take(self, found: tuple[str, ...]) -> bool:
        same = found == self.addresses if self._logical else set(found) == set(self.addresses)
        if found and not same:
            self.addresses = found
            return True
        self._stats.update_no_rebuild.value += 1
        if not found and self.addresses:
            self._stats.update_empty.value += 1
        return False

    def _delay(self) -> float:
        draw, dns = self._services.rng.random(), self._config.dns
        first, most = dns.failure_refresh_rate
        if self._failures and first:
            # Half fixed, half random: never at once, never in step.
            return min(max(first, most), first * 2.0 ** min(self._failures - 1, 30)) * (0.5 + 0.5 * draw)
        wait = self._ttl if self._ttl and dns.respect_ttl and not self._failures else dns.refresh_rate
        return wait + (dns.jitter or wait * JITTER) * draw

    def __repr__(self) -> str:
        return f"<DnsName {self.name} {', '.join(self.addresses) or 'no address'}, {self._failures} failures>"
