"""`/stats/prometheus`: the Prometheus text format 0.0.4 with Envoy's metric and label names.

Written here and not with prometheus_client's exposition, which would add HELP lines, `_total` suffixes and `.0` to
every number: dashboards made for Envoy ask for the names that Envoy has.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

from pyproxy.telemetry.exemplars import Exemplar, Exemplars
from pyproxy.telemetry.histogram import (
    QUANTILES,
    Bins,
    approximate_sum,
    cumulative_counts,
    quantiles,
    total,
)
from pyproxy.telemetry.semantic_metrics import SemanticMetric, semantic
from pyproxy.telemetry.shared_reader import StatsSnapshot
from pyproxy.telemetry.stat_tags import TagExtractor, TaggedName
from pyproxy.telemetry.stats_query import Buckets, StatsQuery, StatType
from pyproxy.telemetry.stats_text import NOTHING, shortest, wanted, wanted_histograms

Row = tuple[str, TaggedName]


def render_prometheus(
    snapshot: StatsSnapshot, query: StatsQuery, tags: TagExtractor, exemplars: Exemplars | None = None
) -> str:
    """Counters, gauges, texts if asked for, histograms: each kind with its metrics in order.

    As OpenMetrics counters keep the names that they have, without `_total`, and so are of the type unknown there.
    """
    lines: list[str] = []
    counter = "unknown" if query.openmetrics else "counter"
    noted = exemplars if query.openmetrics and exemplars is not None else NO_EXEMPLARS
    if query.includes(StatType.COUNTERS):
        rows = tags.in_order("counters", wanted(snapshot.counters, snapshot, query))
        _numbers(lines, counter, rows, snapshot.counters)
    if query.includes(StatType.GAUGES):
        rows = tags.in_order("gauges", wanted(snapshot.gauges, snapshot, query))
        _numbers(lines, "gauge", rows, snapshot.gauges)
    if query.text_readouts and query.includes(StatType.TEXT_READOUTS):
        rows = tags.in_order("texts", [name for name in snapshot.texts if query.selects(name)])
        _families(lines, "gauge", rows, lambda name, tagged: _text(tagged, snapshot.texts[name]))
    histograms: dict[str, Bins] = dict(wanted_histograms(snapshot, query))

    def render_histogram(name: str, tagged: TaggedName) -> str:
        bounds = snapshot.bounds(name)
        return _histogram(tagged, histograms[name], bounds, noted.of(name, bounds), semantic(name))

    rows = tags.in_order("histograms", list(histograms))
    if query.buckets is Buckets.SUMMARY:
        intervals = snapshot.intervals
        _families(lines, "summary", rows, lambda name, tagged: _summary(tagged, intervals.get(name, NOTHING)))
    else:
        _families(lines, "histogram", rows, lambda name, tagged: render_histogram(name, tagged))
    if query.openmetrics:
        lines.append("# EOF\n")
    return "".join(lines)


def _families(lines: list[str], kind: str, rows: Iterable[Row], render: Callable[[str, TaggedName], str]) -> None:
    """What has one metric name stands together."""
    last = None
    for name, tagged in rows:
        if tagged.order != last:
            lines.append(f"# TYPE {tagged.metric} {kind}\n")
            last = tagged.order
        lines.append(render(name, tagged))


def _numbers(lines: list[str], kind: str, rows: Iterable[Row], values: Mapping[str, int]) -> None:
    """As `_families`, for the many."""
    last = None
    for name, (order, metric, labels, _) in rows:
        if order != last:
            lines.append(f"# TYPE {metric} {kind}\n")
            last = order
        lines.append(f"{metric}{{{labels}}} {values[name]}\n")


def _text(tagged: TaggedName, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{tagged.metric}{{{_and(tagged.labels)}text_value="{escaped}"}} 1\n'


def _histogram(
    tagged: TaggedName,
    bins: Bins,
    bounds: Sequence[float],
    exemplars: Mapping[int, Exemplar],
    scaled: SemanticMetric | None = None,
) -> str:
    """`scaled`: what was counted is not shown as it is, but in another unit."""
    metric, labels = tagged.metric, tagged.labels
    shown = _as_it_is if scaled is None else lambda value: f"{scaled.scaled(value):.15g}"
    prefix = f'{metric}_bucket{{{_and(labels)}le="'
    count = total(bins)
    limits = _limits(tuple(bounds)) if scaled is None else [shown(bound) for bound in bounds]
    counts = cumulative_counts(bins, bounds)
    if exemplars:
        lines = [
            f'{prefix}{limit}"}} {below}{_exemplar(exemplars.get(at))}\n'
            for at, (limit, below) in enumerate(zip(limits, counts, strict=True))
        ]
    else:
        lines = [f'{prefix}{limit}"}} {below}\n' for limit, below in zip(limits, counts, strict=True)]
    lines.append(f'{prefix}+Inf"}} {count}{_exemplar(exemplars.get(len(bounds)))}\n')
    lines.append(f"{metric}_sum{{{labels}}} {shown(approximate_sum(bins))}\n")
    lines.append(f"{metric}_count{{{labels}}} {count}\n")
    return "".join(lines)


@functools.lru_cache(maxsize=64)
def _limits(bounds: tuple[float, ...]) -> tuple[str, ...]:
    return tuple(map(_as_it_is, bounds))


def _as_it_is(value: float) -> str:
    return f"{value:.32g}"


def _summary(tagged: TaggedName, bins: Bins) -> str:
    """Quantiles of the last interval."""
    metric, labels = tagged.metric, tagged.labels
    lines = [
        f'{metric}{{{_and(labels)}quantile="{shortest(wanted)}"}} {value:.32g}\n'
        for wanted, value in zip(QUANTILES, quantiles(bins), strict=True)
    ]
    lines.append(f"{metric}_sum{{{labels}}} {approximate_sum(bins):.32g}\n")
    lines.append(f"{metric}_count{{{labels}}} {total(bins)}\n")
    return "".join(lines)


def _exemplar(exemplar: Exemplar | None) -> str:
    """What follows the value of a bucket (OpenMetrics: "Exemplars")."""
    if exemplar is None:
        return ""
    labels = f'trace_id="{exemplar.trace_id}",span_id="{exemplar.span_id}"'
    return f" # {{{labels}}} {exemplar.value:.6g} {exemplar.at:.3f}"


NO_EXEMPLARS = Exemplars()


def _and(labels: str) -> str:
    return f"{labels}," if labels else ""
