"""Which statistics are shown, and the buckets of histograms, as the bootstrap says (`stats_config`).

Names are matched whole, before tags are taken out of them. Verdicts are remembered: names are many and seldom new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from pyproxy.config.stats import BucketRule, StatsMatcher
from pyproxy.http.predicates import build_string_predicate
from pyproxy.telemetry.histogram import BUCKETS
from pyproxy.telemetry.semantic_metrics import semantic

_MOST_REMEMBERED: Final = 500_000
_ALL: Final = StatsMatcher()

T = TypeVar("T")


class StatsRules:
    """`shows(name)` and `bounds(name)`."""

    def __init__(self, matcher: StatsMatcher = _ALL, buckets: Sequence[BucketRule] = ()) -> None:
        self._matches = [build_string_predicate(match) for match in matcher.matches]
        self._inclusive = matcher.inclusive
        self._buckets = [(build_string_predicate(rule.match), rule.bounds) for rule in buckets]
        self._shown: dict[str, bool] = {}
        self._bounds: dict[str, Sequence[float]] = {}

    @property
    def filters(self) -> bool:
        """Something may be left out."""
        return bool(self._matches) or self._inclusive

    def shows(self, name: str) -> bool:
        return not self.filters or self._known(self._shown, name, self._decide)

    def bounds(self, name: str) -> Sequence[float]:
        """The upper bounds of a histogram's buckets."""
        known = semantic(name)
        if known is not None:
            return known.bounds
        return self._known(self._bounds, name, self._choose) if self._buckets else BUCKETS

    @staticmethod
    def _known(memory: dict[str, T], name: str, work_out: Callable[[str], T]) -> T:
        found = memory.get(name)
        if found is None:
            if len(memory) >= _MOST_REMEMBERED:
                memory.clear()
            found = memory[name] = work_out(name)
        return found

    def _decide(self, name: str) -> bool:
        text = name.encode()
        return any(matches(text) for matches in self._matches) is self._inclusive

    def _choose(self, name: str) -> Sequence[float]:
        text = name.encode()
        return next((bounds for matches, bounds in self._buckets if matches(text)), BUCKETS)
