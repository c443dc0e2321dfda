"""All the statistics of one process, by name: what is built asks here once for what it will count.

A few times a second `StatsStore.flush` brings derived stats up to date and publishes everything in shared memory,
where it is merged with that of the other processes (`telemetry.shared_reader`) and rendered.

What is one event for the request path may be many stats in Envoy (a 200 is also a 2xx, a completed request, and all
that again without `external.`): count it once in a `Tally`, which is spread over its targets when it is flushed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from pyproxy.telemetry.shared_layout import Kind
from pyproxy.telemetry.shared_reader import AreaReader
from pyproxy.telemetry.shared_stats import StatsArea, StatsWriter
from pyproxy.telemetry.stat import (
    AnyStat,
    Counter,
    Gauge,
    Histogram,
    MirroredCounter,
    MirroredGauge,
    Tally,
    TextReadout,
)
from pyproxy.telemetry.stats_publisher import PublishedScope, StatsPublisher

__all__ = [
    "Counter",
    "Gauge",
    "Histogram",
    "MirroredCounter",
    "MirroredGauge",
    "Scope",
    "StatsStore",
    "Tally",
    "TextReadout",
]

log = logging.getLogger("pyproxy.telemetry.metrics")

S = TypeVar("S", bound=AnyStat)


class Scope(PublishedScope):
    """The stats below one prefix (`cluster.blue`), made on demand and removed together."""

    __slots__ = ("_store", "claims", "tallies")

    def __init__(self, store: StatsStore, prefix: str, table: str) -> None:
        super().__init__(prefix, table)
        self._store = store
        self.claims = 0
        """How many owners want it to stay."""
        self.tallies: list[Tally] = []

    def counter(self, name: str) -> Counter:
        return self.make(Counter, name)

    def gauge(self, name: str) -> Gauge:
        return self.make(Gauge, name)

    def histogram(self, name: str) -> Histogram:
        return self.make(Histogram, name)

    def text(self, name: str) -> TextReadout:
        return self.make(TextReadout, name)

    def tally(self, *targets: Counter) -> Tally:
        """One thing to count for all of these counters, until this scope is removed."""
        made = Tally(targets)
        self.tallies.append(made)
        self._store.adopt_tally(made)
        return made

    def scope(self, prefix: str) -> Scope:
        """A scope within this one; it is not removed with it."""
        return self._store.scope(f"{self.prefix}.{prefix}" if self.prefix else prefix)

    def make(self, shape: type[S], name: str) -> S:
        """The stat of this name, made if need be. It is an error to ask for it as two different things."""
        found = self.stats.get(name)
        if found is None:
            made = self.stats[name] = shape(name)
            self._store.adopt(self, made)
            return made
        if not isinstance(found, shape):
            raise TypeError(f"stat {self.prefix}.{name} is a {type(found).__name__}, not a {shape.__name__}")
        return found

    def __repr__(self) -> str:
        return f"<Scope {self.prefix} {len(self.stats)}>"


class StatsStore:
    """All the stats of this process. Without an area nothing is published (tests, `--mode validate`).

    With the area of a process that died, its counters and histograms go on from where they were.
    """

    def __init__(self, area: StatsArea | None = None) -> None:
        self._scopes: dict[str, Scope] = {}
        self._histograms: dict[Histogram, None] = {}
        self._tallies: dict[Tally, None] = {}
        self._callbacks: dict[object, Callable[[], None]] = {}
        self._publisher: StatsPublisher | None = None
        if area is not None:
            self._publisher = StatsPublisher(StatsWriter(area), self._scopes)
        self.root = self.scope("")
        if area is not None:
            self._inherit(area)

    def counter(self, name: str) -> Counter:
        """By full Envoy name. The scope that the name lies in is found, if there is one."""
        scope, rest = self._locate(name)
        return scope.counter(rest)

    def gauge(self, name: str) -> Gauge:
        scope, rest = self._locate(name)
        return scope.gauge(rest)

    def histogram(self, name: str) -> Histogram:
        scope, rest = self._locate(name)
        return scope.histogram(rest)

    def text(self, name: str) -> TextReadout:
        scope, rest = self._locate(name)
        return scope.text(rest)

    def scope(self, prefix: str, table: str = "") -> Scope:
        """The scope with this prefix (no dot at the end), made if need be. `table`: see `StatsBlock.table`."""
        found = self._scopes.get(prefix)
        if found is None:
            found = self._scopes[prefix] = Scope(self, prefix, table)
            if self._publisher is not None:
                self._publisher.add_scope(found)
        elif table and not found.table:
            # It was made before anyone knew what belongs in it.
            found.table = table
            if self._publisher is not None:
                self._publisher.restart()
        return found

    def remove(self, prefix: str) -> None:
        """Forget the scope with exactly this prefix: `cluster.a` takes nothing from a cluster named `a.b`."""
        scope = self._scopes.pop(prefix.removesuffix("."), None)
        if scope is None:
            return
        for tally in scope.tallies:
            tally.spread()
            del self._tallies[tally]
        for stat in scope.stats.values():
            if isinstance(stat, Histogram):
                stat.fold()
                del self._histograms[stat]
        if self._publisher is not None:
            self._publisher.remove_scope(scope)

    def on_flush(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` before each flush, so that it can bring derived stats up to date. Returns what ends that."""
        key = object()
        self._callbacks[key] = callback

        def cancel() -> None:
            self._callbacks.pop(key, None)

        return cancel

    def adopt(self, scope: Scope, stat: AnyStat) -> None:
        """A scope has made a stat. Only scopes call this."""
        if isinstance(stat, Histogram):
            self._histograms[stat] = None
        if self._publisher is not None:
            self._publisher.add(scope, stat)

    def adopt_tally(self, tally: Tally) -> None:
        self._tallies[tally] = None

    def flush(self) -> None:
        """Bring derived stats up to date and publish everything."""
        for callback in tuple(self._callbacks.values()):
            try:
                callback()
            except Exception:
                # One owner's mistake must not hide everybody's stats.
                log.exception("an on_flush callback failed")
        for tally in self._tallies:
            if tally.value:
                tally.spread()
        for histogram in self._histograms:
            if histogram.pending:
                histogram.fold()
        if self._publisher is not None:
            self._publisher.publish()

    def _locate(self, name: str) -> tuple[Scope, str]:
        """The scope with the longest prefix of a name, and the rest of the name."""
        end = name.rfind(".")
        while end > 0:
            scope = self._scopes.get(name[:end])
            if scope is not None:
                return scope, name[end + 1 :]
            end = name.rfind(".", 0, end)
        return self.root, name

    def _inherit(self, area: StatsArea) -> None:
        reader = AreaReader(area)
        reader.refresh()
        for left in reader.inherited():
            scope = self.scope(left.prefix, left.table)
            if left.kind is Kind.BIN:
                assert left.number is not None
                scope.make(Histogram, left.name).add(left.number, left.value)
            else:
                scope.counter(left.name).value = left.value
