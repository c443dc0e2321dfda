"""Sends statistics to sinks at the end of each interval (`stats_flush_interval`).

A snapshot is taken on the loop and written out in a thread: tens of thousands of stats must not keep a probe waiting.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Protocol

from pyproxy import clock
from pyproxy.config.stats import SinkConfig, SinkKind
from pyproxy.server.exporting.hub import Surroundings
from pyproxy.server.manager_stats import ManagerStats
from pyproxy.tasks import spawn
from pyproxy.telemetry.shared_reader import StatsSnapshot
from pyproxy.telemetry.stat_tags import TagExtractor

log = logging.getLogger("pyproxy.stats_sinks")


@dataclass(slots=True)
class Flush:
    """What is sent: a snapshot of what was used, and what counters have counted since the flush before."""

    snapshot: StatsSnapshot
    tags: TagExtractor
    deltas: dict[str, int] = field(default_factory=dict)
    since: float = 0.0
    """When the interval began, in seconds since the epoch."""
    until: float = 0.0


class Sink(Protocol):
    """One sink. `prepare` runs in a thread; what it gives is what `send` gets on the loop."""

    def prepare(self, flush: Flush) -> object: ...
    async def send(self, prepared: object) -> None: ...
    def close(self) -> None: ...


class StatsFlush:
    """All the sinks of the bootstrap."""

    def __init__(self, configs: tuple[SinkConfig, ...], proxy: Surroundings, stats: ManagerStats) -> None:
        self._sinks = [make_sink(one, proxy) for one in configs]
        self._stats = stats
        self._last: dict[str, int] = {}
        self._started = self._before = clock.wall()
        self._running = False
        self._dropped = stats.store.counter("server.dropped_stat_flushes")
        self._failed = stats.store.counter("server.failed_stat_flushes")
        if self._sinks:
            stats.on_flush = self._begin

    def _begin(self) -> None:
        """A flush that takes longer than an interval has the next one left out."""
        if self._running:
            self._dropped.value += 1
            return
        self._running = True
        _ = spawn(self.flush(), "stats-flush")

    async def flush(self) -> None:
        try:
            snapshot = self._stats.snapshot(unused=False)
            now = clock.wall()
            last, self._last = self._last, snapshot.counters
            deltas = {name: more for name, value in snapshot.counters.items() if (more := value - last.get(name, 0))}
            flush = Flush(snapshot, self._stats.tags, deltas, self._before, now)
            self._before = now
            for sink in self._sinks:
                await self._serve(sink, flush)
        finally:
            self._running = False

    async def _serve(self, sink: Sink, flush: Flush) -> None:
        try:
            await sink.send(await asyncio.to_thread(sink.prepare, flush))
        except Exception as error:  # noqa: BLE001 (a sink that fails must not keep the others from their stats)
            self._failed.value += 1
            log.debug("%r did not take the statistics: %s", sink, error)

    async def close(self) -> None:
        """Once more, with what there is."""
        if self._sinks and not self._running:
            await asyncio.wait_for(self.flush(), _CLOSE_SECONDS)
        for sink in self._sinks:
            sink.close()


_CLOSE_SECONDS = 2.0


def make_sink(config: SinkConfig, proxy: Surroundings) -> Sink:
    """The live sink of a value."""
    if config.kind is SinkKind.OTLP:
        from pyproxy.server.stats_sinks.otlp import OtlpSink

        return OtlpSink(config, proxy)
    from pyproxy.server.stats_sinks.statsd import StatsdSink

    return StatsdSink(config, proxy)
