"""What every connection of a listener has to pass before it is looked at, and what is written when it is gone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pyproxy import clock
from pyproxy.config.listener import ListenerConfig
from pyproxy.errors import ResponseFlag
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.listeners.filter_chain import for_logs
from pyproxy.network.incoming import Incoming
from pyproxy.telemetry.listener_stats import ListenerStats

if TYPE_CHECKING:
    from pyproxy.runtime import Runtime

_RUNTIME_LIMIT = "envoy.resource_limits.listener.{}.connection_limit"


class Guard:
    """The limits of open connections, that of the proxy and that of this listener, and the listener's access logs."""

    __slots__ = ("_global", "_logs", "_most", "_open", "_stats", "needed")

    def __init__(self, config: ListenerConfig, runtime: Runtime, stats: ListenerStats) -> None:
        self._stats = stats
        self._open = 0
        most = runtime.values.number(_RUNTIME_LIMIT.format(config.name), -1)
        self._most = -1 if most < 0 else -(-int(most) // runtime.workers)
        self._global = None if config.ignores_global_limit else runtime.connection_limit
        self._logs = [runtime.access_logs.open(log, runtime.values) for log in config.access_logs]
        self.needed = self._most >= 0 or self._global is not None or bool(self._logs)
        """Connections cannot be opened without asking."""

    def let_in(self, incoming: Incoming) -> bool:
        """False where there are too many already."""
        if self._most >= 0 and self._open >= self._most:
            self._stats.downstream_cx_overflow.value += 1
            return False
        if self._global is not None:
            if not self._global.take():
                self._stats.downstream_global_cx_overflow.value += 1
                return False
            incoming.leaving.append(self._global.give_back)
        if self._most >= 0:
            self._open += 1
            incoming.leaving.append(self._leave)
        return True

    def log_end(self, incoming: Incoming) -> None:
        """Write the listener's access logs when the connection is gone."""
        if self._logs:
            incoming.leaving.append(partial(self._log, incoming))

    def close(self) -> None:
        """No connection is open any more."""
        for log in self._logs:
            log.close()

    def _leave(self) -> None:
        self._open -= 1

    def _log(self, incoming: Incoming) -> None:
        request: Request | None = getattr(incoming.connection, "request", None)
        if request is None:
            request = _request(incoming)
        info = request.info
        info.end = clock.now
        info.log_type = "NotSet"
        for log in self._logs:
            log.log(request, None)


def _request(incoming: Incoming) -> Request:
    """An empty one, which is what logs look at."""
    connection: Any = incoming.connection
    told = ConnectionInfo() if connection is None else connection.info
    if connection is None:
        told.requested_server_name = for_logs(incoming.server_name)
        told.told = (incoming.destination, incoming.source)
        told.take_addresses(incoming.direct_destination, incoming.direct_source)
    info = StreamInfo(incoming.accepted, incoming.accepted + clock.wall_offset, told)
    info.dynamic_metadata = incoming.metadata or None
    if incoming.unmatched:
        info.add_flag(ResponseFlag.NO_ROUTE_FOUND)
        info.details = "filter_chain_not_found"
    return Request(b"", b"", b"", Headers(), info)
