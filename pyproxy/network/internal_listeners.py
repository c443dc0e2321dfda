"""Connections that do not leave the worker, from its clusters to its listeners (Envoy: internal listeners).

Each is a pair of connected sockets, so that everything that is done with connections can be done with these too.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pyproxy.config.filter_state import SharedState

CLIENT: Final = "envoy://internal_client_address/"
"""Where such connections come from, as Envoy says."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What a connection brings along: metadata by namespace, and filter state."""

    metadata: Mapping[str, Any] = field(default_factory=dict)
    state: tuple[SharedState, ...] = ()


Take = Callable[[socket.socket, str, Passed], None]
"""Takes a connection to (endpoint) and what it brings."""


class InternalListeners:
    """Those of one worker."""

    __slots__ = ("_by_name",)

    def __init__(self) -> None:
        self._by_name: dict[str, Take] = {}

    def open(self, name: str, take: Take) -> None:
        """From now on connections to that name are for `take`."""
        self._by_name[name] = take

    def close(self, name: str) -> None:
        """There are no more connections to that name."""
        self._by_name.pop(name, None)

    def connect(self, name: str, endpoint_id: str, passed: Passed) -> socket.socket:
        """Our end of a new connection. Raises ConnectionRefusedError where there is no such listener."""
        take = self._by_name.get(name)
        if take is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "no internal listener of that name")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        take(theirs, endpoint_id, passed)
        return ours
