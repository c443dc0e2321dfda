"""The reading side of shared statistics: follows the areas of all processes and merges them by name.

Counters and gauges are summed and histograms added bin by bin; what is MIRRORED (every worker counts the same thing,
such as the members of a cluster) is merged by maximum. Gauges and texts of a dead process do not count.
"""

from __future__ import annotations

import array
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pyproxy.telemetry.histogram import BUCKETS
from pyproxy.telemetry.shared_layout import Kind, Record, unpack
from pyproxy.telemetry.shared_stats import (
    ALIVE,
    DIRECTORY_END,
    EPOCH,
    SEQUENCE,
    VALUE_COUNT,
    StatsArea,
    fence,
)

_TRIES = 50
_PAUSE = 0.0001
_HASHED = ".version"


def _default_bounds(name: str) -> Sequence[float]:
    return BUCKETS


@dataclass(slots=True)
class StatsSnapshot:
    """All statistics at one moment, by full name. `intervals`: histograms of the last interval only."""

    counters: dict[str, int] = field(default_factory=dict)
    gauges: dict[str, int] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    histograms: dict[str, dict[int, int]] = field(default_factory=dict)
    intervals: dict[str, dict[int, int]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    """Counters that ever counted and gauges that were ever set."""
    bounds: Callable[[str], Sequence[float]] = _default_bounds
    """Upper bounds of the buckets of a histogram."""


class Inherited(NamedTuple):
    """A counter (`number` None) or one bin of a histogram, as a dead process left it."""

    prefix: str
    table: str
    name: str
    kind: Kind
    number: int | None
    value: int


class _Scope(NamedTuple):
    prefix: str
    table: str

    def full(self, name: str) -> str:
        return f"{self.prefix}.{name}" if self.prefix else name


@dataclass(slots=True)
class _Entry:
    """What one slot means; for a bin `name` is its histogram's."""

    kind: Kind
    scope: _Scope
    name: str
    full_name: str
    number: int | None = None
    used: bool = False


class AreaReader:
    """Follows one area. Keeps the last whole state, so a writer that stopped in mid-update hides nothing."""

    def __init__(self, area: StatsArea) -> None:
        self._area = area
        self._epoch = -1
        self._reset()

    def refresh(self) -> None:
        """Read what has changed; without a consistent view within a few tries the last one stands."""
        words = self._area.words
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE)
            sequence = words[SEQUENCE]
            if sequence & 1:
                continue
            fence()
            epoch = words[EPOCH]
            half = epoch & 1
            begin = self._end if epoch == self._epoch else 0
            end = words[DIRECTORY_END + half]
            base = self._area.directory_start(half)
            directory = self._area.memory[base + begin : base + end]
            start = self._area.value_start(half)
            values = array.array("q", words[start : start + words[VALUE_COUNT + half]].tobytes())
            fence()
            if words[SEQUENCE] == sequence:
                self._accept(epoch, end, directory, values)
                return

    def add_to(self, snapshot: StatsSnapshot, *, unused: bool) -> None:
        """Merge this area's state into a snapshot. `unused`: with zeros for what blocks could have but never had."""
        alive = bool(self._area.words[ALIVE])
        if unused:
            self._add_zeros(snapshot)
        for _, name in self._histograms.values():
            snapshot.histograms.setdefault(name, {})
        if alive:
            for (scope, name), text in self._texts.items():
                snapshot.texts[scope.full(name)] = text
        # Tens of thousands, and each of them only a moment.
        counters, histograms, used = snapshot.counters, snapshot.histograms, snapshot.used
        a_bin, counter, mirrored = Kind.BIN, Kind.COUNTER, Kind.MIRRORED_COUNTER
        for entry, value in zip(self._slots, self._values, strict=False):
            if entry is None:
                continue
            kind = entry.kind
            if kind is counter:
                name = entry.full_name
                held = counters.get(name)
                counters[name] = value if held is None else held + value
                if value:
                    used.add(name)
            elif kind is a_bin:
                assert entry.number is not None
                bins = histograms[entry.full_name]
                bins[entry.number] = bins.get(entry.number, 0) + value
            elif kind is mirrored:
                _merge(counters, entry, value)
                if value:
                    used.add(entry.full_name)
            elif alive:
                if value < 0 and entry.full_name.endswith(_HASHED):
                    value += 1 << 64  # a hash of 64 bits, which Envoy shows without a sign
                _merge(snapshot.gauges, entry, value)
                if entry.used:
                    snapshot.used.add(entry.full_name)

    def inherited(self) -> Iterator[Inherited]:
        """What a successor of the writer goes on from: counters and histograms, but no mirrors and no gauges."""
        for entry, value in self._live():
            if entry.kind is Kind.COUNTER or entry.kind is Kind.BIN:
                yield Inherited(entry.scope.prefix, entry.scope.table, entry.name, entry.kind, entry.number, value)

    def _live(self) -> Iterator[tuple[_Entry, int]]:
        for entry, value in zip(self._slots, self._values, strict=False):
            if entry is not None:
                yield entry, value

    def _reset(self) -> None:
        self._end = 0
        self._values: array.array[int] = array.array("q")
        self._slots: list[_Entry | None] = []
        self._slots_of: dict[_Scope, list[int]] = {}
        self._tables: dict[int, str] = {0: ""}
        self._scopes: dict[int, _Scope] = {}
        self._histograms: dict[int, tuple[_Scope, str]] = {}
        self._histogram_names: dict[int, str] = {}
        self._texts: dict[tuple[_Scope, str], str] = {}

    def _accept(self, epoch: int, end: int, directory: bytes, values: array.array[int]) -> None:
        if epoch != self._epoch:
            self._reset()
            self._epoch = epoch
        for record in unpack(directory):
            self._take(record)
        self._end = end
        self._values = values

    def _take(self, record: Record) -> None:
        match record.kind:
            case Kind.TABLE:
                self._tables[record.a] = record.payload
            case Kind.SCOPE:
                self._scopes[record.a] = _Scope(record.text, self._tables.get(record.b, ""))
            case Kind.USED:
                entry = self._slots[record.b]
                if entry is not None:
                    entry.used = True
            case Kind.REMOVED:
                self._remove(record.a)
            case Kind.BIN:
                scope, full_name = self._histograms[record.a]
                name = self._histogram_names[record.a]
                self._put(record.b, _Entry(record.kind, scope, name, full_name, record.c))
            case _:
                self._take_named(record)

    def _take_named(self, record: Record) -> None:
        scope = self._scopes[record.a]
        full_name = scope.full(record.text)
        match record.kind:
            case Kind.HISTOGRAM:
                self._histograms[record.b] = (scope, full_name)
                self._histogram_names[record.b] = record.text
            case Kind.TEXT:
                self._texts[scope, record.text] = record.payload
            case _:
                self._put(record.b, _Entry(record.kind, scope, record.text, full_name))

    def _put(self, slot: int, entry: _Entry) -> None:
        self._slots.extend([None] * (slot + 1 - len(self._slots)))
        self._slots[slot] = entry
        self._slots_of.setdefault(entry.scope, []).append(slot)

    def _remove(self, number: int) -> None:
        scope = self._scopes.pop(number)
        for slot in self._slots_of.pop(scope, ()):
            self._slots[slot] = None
        self._texts = {key: text for key, text in self._texts.items() if key[0] is not scope}
        for histogram in [one for one, (owner, _) in self._histograms.items() if owner is scope]:
            del self._histograms[histogram], self._histogram_names[histogram]

    def _add_zeros(self, snapshot: StatsSnapshot) -> None:
        for scope in self._scopes.values():
            for line in scope.table.splitlines():
                kind, _, name = line.partition(" ")
                full_name = scope.full(name)
                if int(kind) == Kind.HISTOGRAM:
                    snapshot.histograms.setdefault(full_name, {})
                elif int(kind) in (Kind.COUNTER, Kind.MIRRORED_COUNTER):
                    snapshot.counters.setdefault(full_name, 0)
                else:
                    snapshot.gauges.setdefault(full_name, 0)


class StatsReader:
    """Merges the areas of all processes."""

    def __init__(self, areas: Iterable[StatsArea]) -> None:
        self._areas = [AreaReader(area) for area in areas]

    def snapshot(self, *, unused: bool = True) -> StatsSnapshot:
        """Read all areas now. `unused`: also name what could be but never was."""
        snapshot = StatsSnapshot()
        for area in self._areas:
            area.refresh()
            area.add_to(snapshot, unused=unused)
        return snapshot


def _merge(into: dict[str, int], entry: _Entry, value: int) -> None:
    held = into.get(entry.full_name)
    if held is None:
        into[entry.full_name] = value
    elif entry.kind is Kind.COUNTER or entry.kind is Kind.GAUGE:
        into[entry.full_name] = held + value
    else:
        into[entry.full_name] = max(held, value)
