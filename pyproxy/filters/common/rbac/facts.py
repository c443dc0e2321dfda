"""What rules may look at, and addresses as numbers."""

from __future__ import annotations

import functools
import socket
from collections.abc import Mapping
from typing import Any, Final

from pyproxy.http.message import Request
from pyproxy.http.stream_info import ConnectionInfo

NO_ADDRESS: Final = (0, 0)
_CACHED: Final = 4096
_MAPPED: Final = 0xFFFF
"""The upper 96 bits of an IPv4 address that came in on an IPv6 socket."""


class RbacFacts:
    """A connection, and the request on it where there is one."""

    __slots__ = ("connection", "request")

    def __init__(self, connection: ConnectionInfo, request: Request | None = None) -> None:
        self.connection = connection
        self.request = request

    @property
    def dynamic_metadata(self) -> Mapping[str, Any] | None:
        """What filters have learned of the request, where there is one; it is not told what the connection was."""
        if self.request is None:
            return self.connection.dynamic_metadata
        return self.request.info.dynamic_metadata


@functools.lru_cache(maxsize=_CACHED)
def address_number(host: str) -> tuple[int, int]:
    """(version, number) of an IP address. A path is none; IPv4 that came in on an IPv6 socket is IPv4."""
    try:
        if ":" not in host:
            return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, host), "big")
        number = int.from_bytes(socket.inet_pton(socket.AF_INET6, host.partition("%")[0]), "big")
    except (OSError, ValueError):
        return NO_ADDRESS
    return (4, number & 0xFFFFFFFF) if number >> 32 == _MAPPED else (6, number)
