"""Names to addresses by c-ares, which knows how long an answer holds and asks the servers that it is told to.

Envoy: envoy.extensions.network.dns_resolver.cares.v3. /etc/hosts and /etc/resolv.conf are honoured, nsswitch is not.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

import aiodns
import pycares

from pyproxy import clock
from pyproxy.clusters.discovery.resolver import NOTHING, Resolution, ResolutionFailed, by_family
from pyproxy.config.dns import CaresConfig
from pyproxy.telemetry.dns_stats import CaresStats

_NO_ADDRESS: Final = (aiodns.error.ARES_ENODATA, aiodns.error.ARES_ENOTFOUND)
_NO_SERVERS: Final = ["127.0.0.1"]
"""What c-ares falls back to where /etc/resolv.conf names nobody."""
# Where a packet would go is all that is asked: none is sent (RFC 5737, RFC 3849).
_ELSEWHERE: Final = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}


class CaresResolver:
    """One channel of c-ares, made at the first question, and made anew where the configuration says so."""

    def __init__(self, loop: asyncio.AbstractEventLoop, config: CaresConfig, stats: CaresStats) -> None:
        self._loop = loop
        self._config = config
        self._stats = stats
        self._channel: aiodns.DNSResolver | None = None
        self._made = 0.0

    async def resolve(self, name: str, lookup_family: str) -> Resolution:
        return await by_family(name, lookup_family, self._ask)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.cancel()
            self._channel = None

    async def _ask(self, name: str, family: int) -> Resolution:
        if self._config.routable and family != socket.AF_UNSPEC and not _has_route(family):
            return NOTHING
        channel, stats = self._current(), self._stats
        stats.resolve_total.value += 1
        stats.pending_resolutions.value += 1
        try:
            answer = await channel.getaddrinfo(name, socket.AddressFamily(family), type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            return self._without(name, channel, int(error.args[0]), str(error.args[1]))
        except (pycares.AresError, UnicodeError, ValueError) as error:
            stats.get_addr_failure.value += 1
            raise ResolutionFailed(f"{name}: {error}") from error
        finally:
            stats.pending_resolutions.value -= 1
        found = dict.fromkeys(node.addr[0].decode() for node in answer.nodes)
        return Resolution(tuple(found), float(min((node.ttl for node in answer.nodes), default=0)))

    def _without(self, name: str, channel: aiodns.DNSResolver, code: int, said: str) -> Resolution:
        """There was no answer, or one that there is no address."""
        stats = self._stats
        if code in _NO_ADDRESS:
            stats.not_found.value += 1
            return NOTHING
        if code == aiodns.error.ARES_ETIMEOUT:
            stats.timeout.value += 1
            if self._config.renew_on_timeout and self._channel is channel:
                self._renew()
        else:
            stats.get_addr_failure.value += 1
        raise ResolutionFailed(f"{name}: {said}")

    def _renew(self) -> None:
        """The next question gets a new channel; who waits for the old one keeps it."""
        self._stats.reinits.value += 1
        self._channel = None

    def _current(self) -> aiodns.DNSResolver:
        lifetime = self._config.lifetime
        if self._channel is not None and lifetime and clock.monotonic() - self._made > lifetime:
            self._renew()
        if self._channel is None:
            self._channel = self._open()
            self._made = clock.monotonic()
        return self._channel

    def _open(self) -> aiodns.DNSResolver:
        config = self._config
        options: dict[str, Any] = {"rotate": config.rotate}
        flags = (pycares.ARES_FLAG_USEVC if config.tcp else 0) | (0 if config.search else pycares.ARES_FLAG_NOSEARCH)
        if flags:
            options["flags"] = flags
        if config.timeout:
            options["timeout"] = config.timeout
        if config.tries:
            options["tries"] = config.tries
        channel = aiodns.DNSResolver(None if config.fallback else config.servers or None, self._loop, **options)
        if config.fallback and config.servers and list(channel.nameservers) == _NO_SERVERS:
            channel.nameservers = config.servers
        return channel

    def __repr__(self) -> str:
        return f"<CaresResolver {', '.join(self._config.servers) or 'of the system'}>"


def _has_route(family: int) -> bool:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE[socket.AddressFamily(family)])
        except OSError:
            return False
    return True
