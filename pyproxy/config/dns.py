"""How names become addresses, as values. The compile functions are in `dns_compile.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class SystemResolverConfig:
    """getaddrinfo of the C library (envoy.extensions.network.dns_resolver.getaddrinfo.v3).

    `retries` of a question that was not answered; `threads` of its own that ask, 0 for those of the worker.
    """

    retries: int = 0
    threads: int = 0


@dataclass(frozen=True, slots=True)
class CaresConfig:
    """c-ares (envoy.extensions.network.dns_resolver.cares.v3). Seconds; 0 for what the library or the system says.

    `servers` are `ip:port`, which `fallback` takes only where /etc/resolv.conf names none. `search`: names without
    enough dots are completed. `lifetime` ends sockets that have lived so long; `routable` leaves out families without a
    route.
    """

    servers: tuple[str, ...] = ()
    fallback: bool = False
    tcp: bool = False
    search: bool = True
    timeout: float = 0.0
    tries: int = 0
    rotate: bool = False
    lifetime: float = 0.0
    renew_on_timeout: bool = False
    routable: bool = False


ResolverConfig = SystemResolverConfig | CaresConfig
SYSTEM: Final = SystemResolverConfig()


@dataclass(frozen=True, slots=True)
class DnsConfig:
    """What is asked, how often and whom. Seconds.

    `failure_refresh_rate` is (first, most) to wait after failures; zeros mean `refresh_rate`. With `respect_ttl`
    answers say themselves how long they hold. `jitter` is the most that is added to a wait. Without a `resolver` it is
    that of the bootstrap.
    """

    lookup_family: str = "AUTO"
    refresh_rate: float = 5.0
    failure_refresh_rate: tuple[float, float] = (0.0, 0.0)
    respect_ttl: bool = False
    jitter: float = 0.0
    resolver: ResolverConfig | None = None


DEFAULTS: Final = DnsConfig()
