"""What the simple last filters of a chain have in common: connections that need no upstream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pyproxy import clock
from pyproxy.http.stream_info import ConnectionInfo
from pyproxy.network.connection import Connection
from pyproxy.network.cork import Cork
from pyproxy.runtime import Runtime
from pyproxy.telemetry.listener_stats import ListenerStats


class SimpleConnection(Connection):
    """Knows who it is, and tells its owner when it comes and goes."""

    __slots__ = ("_owner", "info")

    def __init__(self, cork: Cork, owner: SimpleTerminal) -> None:
        super().__init__(cork)
        self._owner = owner
        self.info = ConnectionInfo()

    def on_open(self) -> None:
        self.info.connection_id = self._owner.runtime.next_connection_id()
        self.info.take_addresses(self.local(), self.peer())
        self._owner.open.add(self)
        self.info.opened = clock.now
        stats = self._owner.listener_stats
        if stats is not None:
            stats.downstream_cx_active.value += 1

    def on_bytes(self, data: bytes) -> None:
        """Not wanted."""

    def on_closed(self, error: Exception | None) -> None:
        self._owner.open.discard(self)
        stats = self._owner.listener_stats
        if stats is not None:
            stats.downstream_cx_active.value -= 1
            stats.downstream_cx_destroy.value += 1
            stats.downstream_cx_length_ms.record(int((clock.now - self.info.opened) * 1000))


class SimpleTerminal:
    """The last filter of a chain, whose connections are made by `make`."""

    unspoken: Final[tuple[str, ...]] = ()

    def __init__(self, runtime: Runtime, make: Callable[[SimpleTerminal], SimpleConnection]) -> None:
        self.runtime = runtime
        self.open: set[SimpleConnection] = set()
        self.listener_stats: ListenerStats | None = None
        self._make = make

    def count_for(self, listener: ListenerStats) -> None:
        """Count the connections for the listener."""
        self.listener_stats = listener

    def open_connection(self) -> SimpleConnection:
        return self._make(self)

    @property
    def connections(self) -> int:
        return len(self.open)

    def ask_to_leave(self) -> None:
        """Bytes carry no such message."""

    def drain(self) -> None:
        """Nothing to end early."""

    def abort(self) -> None:
        """Close all connections now."""
        for connection in list(self.open):
            connection.abort()

    def close(self) -> None:
        """No connection is open any more, and none will come."""

    def resume(self) -> None:
        """Nothing was asked."""
