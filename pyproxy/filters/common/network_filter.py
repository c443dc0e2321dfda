"""The shape of network filters that are not the last of their chain: they let a connection in, or do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pyproxy.http.stream_info import ConnectionInfo

Leave = Callable[[], None]
"""What is called when an admitted connection is gone."""


def STAYS() -> None:  # noqa: N802 - a value: the answer of those who need not hear of the end
    """Let in; nothing has to be done when the connection goes."""


class NetworkFilter(Protocol):
    """Shared by all connections of a chain."""

    def admit(self, info: ConnectionInfo) -> Leave | None:
        """Called once, when TLS stands and before any byte is read. None closes the connection."""
