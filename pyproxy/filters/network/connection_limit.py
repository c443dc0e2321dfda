"""connection_limit: at most so many connections at once.

A network filter. Envoy: envoy.filters.network.connection_limit. Security posture: trusts no downstream. Each worker
enforces its share, ceil(limit / workers), as circuit breakers do; with one worker it is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.filters.common.feature_flag import FeatureFlag, compile_feature_flag
from pyproxy.filters.common.network_filter import STAYS, Leave
from pyproxy.http.stream_info import ConnectionInfo
from pyproxy.runtime import Runtime
from pyproxy.telemetry.network_filter_stats import ConnectionLimitStats


@dataclass(frozen=True, slots=True)
class ConnectionLimitConfig:
    stat_prefix: str
    max_connections: int
    enabled: FeatureFlag

    def build(self, runtime: Runtime) -> ConnectionLimit:
        return ConnectionLimit(self, runtime)


def compile(view: View, context: CompileContext) -> ConnectionLimitConfig:  # noqa: A001 (the name that every filter has)
    """A `ConnectionLimit`. Who is over the limit is closed at once; a `delay` is listed as not honoured."""
    del context
    return ConnectionLimitConfig(
        stat_prefix=view.text("stat_prefix"),
        max_connections=view.wrapped("max_connections"),
        enabled=compile_feature_flag(view.child("runtime_enabled")),
    )


class ConnectionLimit:
    """Shared by all connections of a chain."""

    def __init__(self, config: ConnectionLimitConfig, runtime: Runtime) -> None:
        self._stats = ConnectionLimitStats(runtime.stats, config.stat_prefix)
        self._most = -(-config.max_connections // runtime.workers)
        self._enabled = config.enabled.is_on(runtime.values)
        self._active = 0

    def admit(self, info: ConnectionInfo) -> Leave | None:
        del info
        if not self._enabled:
            return STAYS
        if self._active >= self._most:
            self._stats.limited_connections.value += 1
            return None
        self._active += 1
        self._stats.active_connections.value += 1
        return self._leave

    def _leave(self) -> None:
        self._active -= 1
        self._stats.active_connections.value -= 1
