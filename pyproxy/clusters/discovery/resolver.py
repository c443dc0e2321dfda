"""Names to addresses: the shape of all resolvers, and that of the system, off the event loop."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple, Protocol

from pyproxy.config.dns import SYSTEM, SystemResolverConfig

SYSTEM_TTL: Final = 60.0
"""getaddrinfo does not tell how long an answer holds; Envoy takes this long (getaddrinfo.cc, DEFAULT_TTL)."""


class ResolutionFailed(Exception):
    """The question was not answered: the name may well have addresses."""


class Resolution(NamedTuple):
    """The addresses of a name, the best first; none if it has none. `ttl` in seconds; 0 where that is not known."""

    addresses: tuple[str, ...]
    ttl: float = 0.0


NOTHING: Final = Resolution(())


class Resolver(Protocol):
    """Where names become addresses."""

    async def resolve(self, name: str, lookup_family: str) -> Resolution:
        """Raises ResolutionFailed."""

    def close(self) -> None:
        """Nobody waits for an answer any more."""


# The families to ask for, one after the other until one has addresses
# (envoy.config.cluster.v3.Cluster.DnsLookupFamily).
_FAMILIES = {
    "AUTO": (socket.AF_INET6, socket.AF_INET),
    "V4_ONLY": (socket.AF_INET,),
    "V6_ONLY": (socket.AF_INET6,),
    "V4_PREFERRED": (socket.AF_INET, socket.AF_INET6),
    "ALL": (socket.AF_UNSPEC,),
}
_VERSIONS = {"V4_ONLY": (4,), "V6_ONLY": (6,)}
_NO_ADDRESS = frozenset(
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY", "EAI_FAMILY")
    if hasattr(socket, name)
)


async def by_family(name: str, lookup_family: str, ask: Callable[[str, int], Awaitable[Resolution]]) -> Resolution:
    """Ask for one family after the other. An address is none to ask for. Raises ResolutionFailed where none was found
    and a question was not answered."""
    version = literal_version(name)
    if version:
        return Resolution((name,)) if version in _VERSIONS.get(lookup_family, (4, 6)) else NOTHING
    failed: ResolutionFailed | None = None
    for family in _FAMILIES[lookup_family]:
        try:
            found = await ask(name, family)
        except ResolutionFailed as error:
            failed = failed or error
        else:
            if found.addresses:
                return found
    if failed is not None:
        raise failed
    return NOTHING


class SystemResolver:
    """getaddrinfo: /etc/hosts, nsswitch and search domains are honoured."""

    def __init__(self, loop: asyncio.AbstractEventLoop, config: SystemResolverConfig = SYSTEM) -> None:
        self._loop = loop
        self._retries = config.retries
        self._threads = ThreadPoolExecutor(config.threads, "resolve") if config.threads else None

    async def resolve(self, name: str, lookup_family: str) -> Resolution:
        return await by_family(name, lookup_family, self._ask)

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, name: str, family: int) -> Resolution:
        ask = partial(socket.getaddrinfo, name, None, family=family, type=socket.SOCK_STREAM)
        for left in range(self._retries, -1, -1):
            try:
                answers = await self._loop.run_in_executor(self._threads, ask)
            except socket.gaierror as error:
                if error.errno in _NO_ADDRESS:
                    return NOTHING
                if error.errno != socket.EAI_AGAIN or not left:
                    raise ResolutionFailed(f"{name}: {error.strerror}") from error
            except (OSError, UnicodeError) as error:
                raise ResolutionFailed(f"{name}: {error}") from error
            else:
                return Resolution(tuple(dict.fromkeys(str(answer[4][0]) for answer in answers)), SYSTEM_TTL)
        raise AssertionError("the last attempt returns or raises")


def literal_version(name: str) -> int:
    """4 or 6 if the name is an address, 0 if it has to be resolved."""
    try:
        return ipaddress.ip_address(name).version
    except ValueError:
        return 0
