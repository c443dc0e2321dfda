"""The single statistics: plain integers that the request path adds to.

Each is found by name once, when the thing that counts is built (`telemetry.metrics`); from then on
`counter.value += 1` and `histogram.record(12)` are all that happens.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any, ClassVar

from pyproxy.telemetry.histogram import FEW, bin_of
from pyproxy.telemetry.shared_layout import Kind


class Stat:
    """One number. Its `value` is read and written directly; the rest belongs to the store."""

    __slots__ = ("name", "slot")
    kind: ClassVar[Kind]

    def __init__(self, name: str) -> None:
        self.name = name
        self.slot = -1


class Counter(Stat):
    """Only goes up."""

    __slots__ = ("value",)
    kind = Kind.COUNTER

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.value: int = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}={self.value}>"


class MirroredCounter(Counter):
    """Counts what every worker sees alike (a cluster was added); the workers' values are not added up."""

    __slots__ = ()
    kind = Kind.MIRRORED_COUNTER


class Gauge(Stat):
    """Goes up and down. Never set is not the same as 0: Envoy shows a gauge as used once it was set to anything."""

    __slots__ = ("value",)
    kind = Kind.GAUGE

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # False counts as 0 in every way, and no assignment leaves it in place. (As an int it would become 0.)
        self.value: Any = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}={self.value}>"


class MirroredGauge(Gauge):
    """Says what every worker sees alike (the members of a cluster)."""

    __slots__ = ()
    kind = Kind.MIRRORED_GAUGE


class Tally:
    """Counts one kind of event that is several stats: at each flush its targets grow by its value."""

    __slots__ = ("targets", "value")

    def __init__(self, targets: tuple[Counter, ...]) -> None:
        self.targets = targets
        self.value = 0

    def spread(self) -> None:
        for target in self.targets:
            target.value += self.value
        self.value = 0


class Histogram:
    """Samples of a whole number whose unit the name tells (`_ms`, `_time`: milliseconds).

    `record` only notes the sample; samples are put into bins at the next flush. They are also given to `parents`.
    """

    __slots__ = ("bins", "fresh", "name", "number", "parents", "pending", "record")
    kind: ClassVar[Kind] = Kind.HISTOGRAM

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = 0
        self.bins: dict[int, Counter] = {}
        self.fresh: list[tuple[int, Counter]] = []
        self.parents: tuple[Histogram, ...] = ()
        self.pending: list[int] = []
        self.record: Callable[[int], None] = self.pending.append

    def fold(self) -> None:
        """Put what was recorded into bins."""
        if self.pending:
            samples = collections.Counter(self.pending)
            self.pending.clear()
            for value, count in samples.items():
                number = value if 0 <= value < FEW else bin_of(value)
                self.add(number, count)
                for parent in self.parents:
                    parent.add(number, count)

    def add(self, number: int, count: int) -> None:
        held = self.bins.get(number)
        if held is None:
            held = self.bins[number] = Counter(self.name)
            self.fresh.append((number, held))
        held.value += count

    def counts(self) -> dict[int, int]:
        """All samples so far, by bin."""
        self.fold()
        return {number: held.value for number, held in self.bins.items()}

    def __repr__(self) -> str:
        samples = sum(held.value for held in self.bins.values()) + len(self.pending)
        return f"<Histogram {self.name} {samples}>"


class TextReadout:
    """A short text that seldom changes."""

    __slots__ = ("name", "published", "value")
    kind: ClassVar[Kind] = Kind.TEXT

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = ""
        self.published: str | None = None


AnyStat = Counter | Gauge | Histogram | TextReadout
