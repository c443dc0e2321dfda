"""Keeps the shared memory of one process in step with its stats: what is new, what is gone, what was set.

`telemetry.metrics` tells it of every scope and stat that is made or removed; at each flush it writes the difference
and all the values. Where the directory has come to speak mostly of what is gone it writes everything anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pyproxy.telemetry.shared_stats import StatsWriter
from pyproxy.telemetry.stat import AnyStat, Counter, Gauge, Histogram, TextReadout


class PublishedScope:
    """What a publisher needs of a scope. `number` is what the directory calls it, 0 until it is there."""

    __slots__ = ("number", "prefix", "stats", "table")

    def __init__(self, prefix: str, table: str) -> None:
        self.prefix = prefix
        self.table = table
        self.number = 0
        self.stats: dict[str, AnyStat] = {}


class StatsPublisher:
    """`scopes` is the store's own mapping, all that there is to publish."""

    def __init__(self, writer: StatsWriter, scopes: Mapping[str, PublishedScope]) -> None:
        self._writer = writer
        self._scopes = scopes
        self._anew = True
        self._new_scopes: list[PublishedScope] = []
        self._new_stats: dict[AnyStat, PublishedScope] = {}
        self._removed: list[PublishedScope] = []
        self._histograms: dict[Histogram, None] = {}
        self._texts: dict[TextReadout, PublishedScope] = {}
        self._unset: dict[Gauge, None] = {}

    def restart(self) -> None:
        """Write everything anew at the next flush."""
        self._anew = True

    def add_scope(self, scope: PublishedScope) -> None:
        self._new_scopes.append(scope)

    def add(self, scope: PublishedScope, stat: AnyStat) -> None:
        self._new_stats[stat] = scope
        if isinstance(stat, Gauge):
            self._unset[stat] = None
        elif isinstance(stat, Histogram):
            self._histograms[stat] = None
        elif isinstance(stat, TextReadout):
            self._texts[stat] = scope

    def remove_scope(self, scope: PublishedScope) -> None:
        if scope.number:
            self._removed.append(scope)
        else:
            self._new_scopes.remove(scope)
        for stat in scope.stats.values():
            self._new_stats.pop(stat, None)
            if isinstance(stat, Gauge):
                self._unset.pop(stat, None)
            elif isinstance(stat, Histogram):
                del self._histograms[stat]
            elif isinstance(stat, TextReadout):
                del self._texts[stat]

    def publish(self) -> None:
        """Write what has changed, and all values."""
        anew = self._anew or self._writer.wasteful
        # A failure half way leaves the directory in doubt.
        self._anew = True
        just_set = [gauge for gauge in self._unset if gauge.value is not False]
        for gauge in just_set:
            del self._unset[gauge]
        with self._writer.update(anew=anew):
            if anew:
                self._write_all()
            else:
                self._write_changes(just_set)
            self._write_texts()
        self._removed.clear()
        self._new_scopes.clear()
        self._new_stats.clear()
        self._anew = False

    def _write_all(self) -> None:
        for text in self._texts:
            text.published = None
        for scope in self._scopes.values():
            scope.number = self._writer.add_scope(scope.prefix, scope.table)
            for stat in scope.stats.values():
                self._write_stat(scope, stat)

    def _write_changes(self, just_set: list[Gauge]) -> None:
        writer = self._writer
        for scope in self._removed:
            writer.remove_scope(scope.number, list(_cells(scope)))
        for gauge in just_set:
            writer.mark_used(gauge.slot)
        for scope in self._new_scopes:
            scope.number = writer.add_scope(scope.prefix, scope.table)
        for stat, scope in self._new_stats.items():
            self._write_stat(scope, stat)
        for histogram in self._histograms:
            if histogram.fresh:
                for number, held in histogram.fresh:
                    writer.add_bin(histogram.number, number, held)
                histogram.fresh.clear()

    def _write_stat(self, scope: PublishedScope, stat: AnyStat) -> None:
        writer = self._writer
        if isinstance(stat, Counter | Gauge):
            writer.add_value(stat.kind, scope.number, stat.name, stat)
            if isinstance(stat, Gauge) and stat not in self._unset:
                writer.mark_used(stat.slot)
        elif isinstance(stat, Histogram):
            stat.number = writer.add_histogram(scope.number, stat.name)
            stat.fresh.clear()
            for number, held in stat.bins.items():
                writer.add_bin(stat.number, number, held)

    def _write_texts(self) -> None:
        for text, scope in self._texts.items():
            if text.value != text.published:
                self._writer.set_text(scope.number, text.name, text.value)
                text.published = text.value


def _cells(scope: PublishedScope) -> Iterator[Counter | Gauge]:
    for stat in scope.stats.values():
        if isinstance(stat, Histogram):
            yield from stat.bins.values()
        elif isinstance(stat, Counter | Gauge):
            yield stat
