"""Runs the listener filters of a listener over each connection, within their time."""

from __future__ import annotations

import asyncio
from typing import Any

from pyproxy.config.listener import ListenerConfig
from pyproxy.listeners.discovered import build_filter, close_filters
from pyproxy.network.incoming import Incoming, IncomingClosed
from pyproxy.runtime import Runtime
from pyproxy.telemetry.listener_stats import ListenerStats


class Inspection:
    """`look` is all that a listener asks."""

    __slots__ = ("_continue", "_filters", "_loop", "_seconds", "_stats")

    def __init__(self, config: ListenerConfig, stats: ListenerStats, runtime: Runtime) -> None:
        self._filters: list[Any] = [
            build_filter(one, runtime, stats.extension_config_missing) for one in config.listener_filters
        ]
        self._seconds = config.filters_timeout
        self._continue = config.continue_on_timeout
        self._loop = runtime.loop
        self._stats = stats

    def close(self) -> None:
        """No connection comes any more."""
        close_filters(self._filters)

    async def look(self, incoming: Incoming) -> bool:
        """False where the connection is to be closed."""
        if not self._filters:
            return True
        stats, task = self._stats, asyncio.current_task()
        assert task is not None
        timer = self._loop.call_later(self._seconds, task.cancel) if self._seconds else None
        stats.downstream_pre_cx_active.value += 1
        try:
            for one in self._filters:
                await one(incoming)
        except IncomingClosed:
            stats.downstream_listener_filter_error.value += 1
            return False
        except asyncio.CancelledError:
            stats.downstream_pre_cx_timeout.value += 1
            return self._continue
        finally:
            stats.downstream_pre_cx_active.value -= 1
            if timer is not None:
                timer.cancel()
        return True
