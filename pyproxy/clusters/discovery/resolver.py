"""Names to addresses by the system's resolver, off the event loop."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Protocol


class ResolutionFailed(Exception):
    """The question was not answered: the name may well have addresses."""


class Resolver(Protocol):
    """Where names become addresses."""

    async def resolve(self, name: str, lookup_family: str) -> tuple[str, ...]:
        """The addresses of a name, the best first; none if it has none. Raises ResolutionFailed."""


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


class SystemResolver:
    """getaddrinfo: /etc/hosts, nsswitch and search domains are honoured; it does not tell how long an answer holds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def resolve(self, name: str, lookup_family: str) -> tuple[str, ...]:
        version = literal_version(name)
        if version:
            return (name,) if version in _VERSIONS.get(lookup_family, (4, 6)) else ()
        for family in _FAMILIES[lookup_family]:
            found = await self._ask(name, family)
            if found:
                return found
        return ()

    async def _ask(self, name: str, family: int) -> tuple[str, ...]:
        try:
            answers = await self._loop.getaddrinfo(name, None, family=family, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno in _NO_ADDRESS:
                return ()
            raise ResolutionFailed(f"{name}: {error.strerror}") from error
        except (OSError, UnicodeError) as error:
            raise ResolutionFailed(f"{name}: {error}") from error
        return tuple(dict.fromkeys(str(answer[4][0]) for answer in answers))


def literal_version(name: str) -> int:
    """4 or 6 if the name is an address, 0 if it has to be resolved."""
    try:
        return ipaddress.ip_address(name).version
    except ValueError:
        return 0
