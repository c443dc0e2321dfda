"""From the authority of a request to what serves it: exact names, `*suffix`, `prefix*`, `*`, in this order.

Of several suffixes (or prefixes) that fit the longest wins. A wildcard stands for one character or more,
dots included. Envoy: VirtualHost.domains.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from pyproxy.routes.prefixes import PrefixSet

T = TypeVar("T")


class Domains(Generic[T]):
    """`named` gives domains and what each stands for. Domains are compared without regard to case."""

    __slots__ = ("_any", "_exact", "_prefix_set", "_prefixes", "_suffix_set", "_suffixes")

    def __init__(self, named: Iterable[tuple[str, T]]) -> None:
        self._exact: dict[bytes, T] = {}
        self._suffixes: dict[bytes, T] = {}  # backwards
        self._prefixes: dict[bytes, T] = {}
        self._any: T | None = None
        for name, value in named:
            domain = name.lower().encode()
            if domain == b"*":
                self._any = value
            elif domain.startswith(b"*"):
                self._suffixes[domain[:0:-1]] = value
            elif domain.endswith(b"*"):
                self._prefixes[domain[:-1]] = value
            else:
                self._exact[domain] = value
        self._suffix_set = PrefixSet(self._suffixes)
        self._prefix_set = PrefixSet(self._prefixes)

    def find(self, host: bytes) -> T | None:
        host = host.lower()
        found = self._exact.get(host)
        if found is not None:
            return found
        for table, keys, text in (
            (self._suffixes, self._suffix_set, host[::-1]),
            (self._prefixes, self._prefix_set, host),
        ):
            if table:
                longest = next((key for key in keys.of(text) if len(key) < len(text)), None)
                if longest is not None:
                    return table[longest]
        return self._any

    @property
    def catch_all(self) -> T | None:
        """What serves every authority, if there is no other domain."""
        return None if self._exact or self._suffixes or self._prefixes else self._any


def without_port(host: bytes) -> bytes:
    """The host before its last colon, unless that stands inside the brackets of an IPv6 address."""
    start = host.rfind(b":")
    return host if start < 0 or host.rfind(b"]") > start else host[:start]
