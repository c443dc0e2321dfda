"""Exemplars: for a bucket of a histogram the trace of one request that fell into it (OpenMetrics 1.0).

They come with the spans that the manager exports anyway, so a request pays nothing for them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST_HISTOGRAMS: Final = 1000


@dataclass(frozen=True, slots=True)
class Exemplar:
    """`value` in the histogram's unit, `at` in seconds since the epoch."""

    trace_id: str
    span_id: str
    value: float
    at: float


class Exemplars:
    """The last one for each bucket of each histogram."""

    def __init__(self) -> None:
        self._found: dict[str, list[Exemplar]] = {}

    def add(self, histogram: str, exemplar: Exemplar) -> None:
        """The newest one stands first; a few dozen of different sizes are enough to fill the buckets."""
        kept = self._found.get(histogram)
        if kept is None:
            if len(self._found) >= MOST_HISTOGRAMS:
                return
            kept = self._found[histogram] = []
        kept.insert(0, exemplar)
        del kept[_KEPT:]

    def of(self, histogram: str, bounds: Sequence[float]) -> dict[int, Exemplar]:
        """By the number of the bucket; `len(bounds)` is the one without a bound."""
        found: dict[int, Exemplar] = {}
        for exemplar in self._found.get(histogram, ()):
            found.setdefault(bisect_left(bounds, exemplar.value), exemplar)
        return found


_KEPT: Final = 64
