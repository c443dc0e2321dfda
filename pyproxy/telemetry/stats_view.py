"""Statistics as an operator looks at them: since the counters were reset, and histograms of the last interval.

Only the reader knows of resets: the workers count on, and the counts of the moment of the reset are subtracted here.
"""

from __future__ import annotations

from pyproxy.telemetry.histogram import difference
from pyproxy.telemetry.shared_reader import StatsReader, StatsSnapshot
from pyproxy.telemetry.stats_rules import StatsRules


class StatsView:
    """What `/stats` shows. `tick` ends an interval (`stats_flush_interval`, 5 s)."""

    def __init__(self, reader: StatsReader, rules: StatsRules | None = None) -> None:
        self._reader = reader
        self._rules = StatsRules() if rules is None else rules
        self._baseline: dict[str, int] = {}
        self._last: dict[str, dict[int, int]] = {}
        self._intervals: dict[str, dict[int, int]] = {}

    def tick(self) -> None:
        """What histograms got since the last tick is from now on shown as the interval."""
        current = self._reader.snapshot(unused=False).histograms
        self._intervals = {
            name: more for name, bins in current.items() if (more := difference(bins, self._last.get(name, {})))
        }
        self._last = current

    def snapshot(self, *, unused: bool) -> StatsSnapshot:
        """All statistics now. `unused`: with zeros for what could be but never was."""
        snapshot = self._reader.snapshot(unused=unused)
        for name, reset_at in self._baseline.items():
            value = snapshot.counters.get(name)
            if value is None or value < reset_at:
                # Its owner is gone, or is a new one that counts from zero.
                continue
            snapshot.counters[name] = value - reset_at
        snapshot.intervals = self._intervals
        snapshot.bounds = self._rules.bounds
        if self._rules.filters:
            self._leave_out(snapshot)
        return snapshot

    def _leave_out(self, snapshot: StatsSnapshot) -> None:
        shows = self._rules.shows
        for group in (snapshot.counters, snapshot.gauges, snapshot.texts, snapshot.histograms):
            hidden = [name for name in group if not shows(name)]
            for name in hidden:
                del group[name]

    def reset_counters(self) -> None:
        """Counters show 0 now. Gauges and histograms stay (Envoy: /reset_counters)."""
        self._baseline = self._reader.snapshot(unused=False).counters
