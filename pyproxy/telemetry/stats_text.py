"""`/stats` as text and as JSON, in Envoy's shapes: texts first, then counters and gauges by name, then histograms."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import assert_never

from pyproxy.telemetry.histogram import (
    QUANTILES,
    Bins,
    cumulative_counts,
    disjoint_counts,
    lower_bound,
    quantiles,
    width,
)
from pyproxy.telemetry.shared_reader import StatsSnapshot
from pyproxy.telemetry.stat_tags import shown
from pyproxy.telemetry.stats_query import Buckets, StatsQuery, StatType

NOTHING: Bins = {}


def render_text(snapshot: StatsSnapshot, query: StatsQuery) -> str:
    """One line a stat."""
    lines = [f'{shown(name)}: "{text}"\n' for name, text in _texts(snapshot, query)]
    lines += [f"{shown(name)}: {value}\n" for name, value in _numbers(snapshot, query)]
    lines += [_histogram_text(name, bins, snapshot, query) for name, bins in select_histograms(snapshot, query)]
    return "".join(lines)


def render_json(snapshot: StatsSnapshot, query: StatsQuery) -> str:
    """`{"stats": [...]}`; all histograms are one element, the last."""
    parts = [f'{{"name":{_quoted(shown(name))},"value":{_quoted(text)}}}' for name, text in _texts(snapshot, query)]
    parts += [f'{{"name":{_quoted(shown(name))},"value":{value}}}' for name, value in _numbers(snapshot, query)]
    histograms = [
        (name, bins, snapshot.intervals.get(name, NOTHING)) for name, bins in select_histograms(snapshot, query)
    ]
    if histograms:
        parts.append(f'{{"histograms":{_histograms_json(histograms, query.buckets, snapshot)}}}')
    return f'{{"stats":[{",".join(parts)}]}}'


def wanted(names: Iterable[str], snapshot: StatsSnapshot, query: StatsQuery) -> list[str]:
    """The names of counters or gauges that a query wants, in no order."""
    if query.used_only:
        used = snapshot.used
        names = [name for name in names if name in used]
    return list(names) if query.filter is None else [name for name in names if query.selects(name)]


def select(names: Iterable[str], snapshot: StatsSnapshot, query: StatsQuery) -> list[str]:
    """The same, sorted."""
    return sorted(wanted(names, snapshot, query))


def wanted_histograms(snapshot: StatsSnapshot, query: StatsQuery) -> Iterator[tuple[str, Bins]]:
    """The histograms that a query wants, in no order."""
    if query.includes(StatType.HISTOGRAMS):
        for name, bins in snapshot.histograms.items():
            if (bins or not query.used_only) and query.selects(name):
                yield name, bins


def select_histograms(snapshot: StatsSnapshot, query: StatsQuery) -> Iterator[tuple[str, Bins]]:
    """The same, sorted."""
    yield from sorted(wanted_histograms(snapshot, query), key=lambda one: one[0])


def _texts(snapshot: StatsSnapshot, query: StatsQuery) -> Iterator[tuple[str, str]]:
    if query.includes(StatType.TEXT_READOUTS):
        for name in sorted(filter(query.selects, snapshot.texts)):
            yield name, snapshot.texts[name]


def _numbers(snapshot: StatsSnapshot, query: StatsQuery) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    if query.includes(StatType.COUNTERS):
        found += [(name, snapshot.counters[name]) for name in select(snapshot.counters, snapshot, query)]
    if query.includes(StatType.GAUGES):
        found += [(name, snapshot.gauges[name]) for name in select(snapshot.gauges, snapshot, query)]
    found.sort()
    return found


def _histogram_text(name: str, bins: Bins, snapshot: StatsSnapshot, query: StatsQuery) -> str:
    if not bins:
        return f"{shown(name)}: No recorded values\n"
    interval, bounds = snapshot.intervals.get(name, NOTHING), snapshot.bounds(name)
    name = shown(name)
    match query.buckets:
        case Buckets.CUMULATIVE:
            counts = cumulative_counts(interval, bounds), cumulative_counts(bins, bounds)
            return f"{name}: {_bucket_line(bounds, *counts)}\n"
        case Buckets.DISJOINT:
            counts = disjoint_counts(interval, bounds), disjoint_counts(bins, bounds)
            return f"{name}: {_bucket_line(bounds, *counts)}\n"
        case Buckets.DETAILED:
            return (
                f"{name}:\n  totals={_detail_line(bins)}\n  intervals={_detail_line(interval)}\n"
                f"  summary={_quantile_line(interval, bins)}\n"
            )
        case Buckets.DEFAULT | Buckets.SUMMARY | Buckets.NATIVE:
            return f"{name}: {_quantile_line(interval, bins)}\n"
        case _:
            assert_never(query.buckets)


def _quantile_line(interval: Bins, bins: Bins) -> str:
    triples = zip(QUANTILES, quantiles(interval), quantiles(bins), strict=True)
    return " ".join(f"P{100 * wanted:g}({shortest(recent)},{shortest(ever)})" for wanted, recent, ever in triples)


def _bucket_line(bounds: Sequence[float], interval: Sequence[int], ever: Sequence[int]) -> str:
    return " ".join(f"B{bound:g}({a},{b})" for bound, a, b in zip(bounds, interval, ever, strict=True))


def _detail_line(bins: Bins) -> str:
    return ", ".join(f"{lower_bound(number):g},{width(number):g}:{bins[number]}" for number in sorted(bins))


def _histograms_json(histograms: Sequence[tuple[str, Bins, Bins]], buckets: Buckets, snapshot: StatsSnapshot) -> str:
    wanted = ",".join(f"{100 * one:g}" for one in QUANTILES)
    match buckets:
        case Buckets.CUMULATIVE | Buckets.DISJOINT:
            counts = cumulative_counts if buckets is Buckets.CUMULATIVE else disjoint_counts
            return _array(
                f'{{"name":{_quoted(shown(name))},"buckets":'
                f"{_bucket_json(bounds, counts(interval, bounds), counts(bins, bounds))}}}"
                for name, bins, interval in histograms
                for bounds in (snapshot.bounds(name),)
            )
        case Buckets.DETAILED:
            details = _array(
                f'{{"name":{_quoted(shown(name))},"totals":{_detail_json(bins)},"intervals":{_detail_json(interval)},'
                f'"percentiles":{_quantile_json(bins, interval)}}}'
                for name, bins, interval in histograms
            )
            return f'{{"supported_percentiles":[{wanted}],"details":{details}}}'
        case Buckets.DEFAULT | Buckets.SUMMARY | Buckets.NATIVE:
            computed = _array(
                f'{{"name":{_quoted(shown(name))},"values":{_quantile_json(bins, interval)}}}'
                for name, bins, interval in histograms
            )
            return f'{{"supported_quantiles":[{wanted}],"computed_quantiles":{computed}}}'
        case _:
            assert_never(buckets)


def _quantile_json(bins: Bins, interval: Bins) -> str:
    pairs = zip(quantiles(bins), quantiles(interval), strict=True)
    return _array(f'{{"cumulative":{_json_number(ever)},"interval":{_json_number(recent)}}}' for ever, recent in pairs)


def _bucket_json(bounds: Sequence[float], interval: Sequence[int], ever: Sequence[int]) -> str:
    return _array(
        f'{{"upper_bound":{_json_number(bound)},"interval":{recent},"cumulative":{total}}}'
        for bound, recent, total in zip(bounds, interval, ever, strict=True)
    )


def _detail_json(bins: Bins) -> str:
    return _array(
        f'{{"lower_bound":{_json_number(lower_bound(number))},"width":{_json_number(width(number))},'
        f'"count":{bins[number]}}}'
        for number in sorted(bins)
    )


def _array(parts: Iterable[str]) -> str:
    return f"[{','.join(parts)}]"


def shortest(value: float) -> str:
    """The shortest text that reads back as the same number; whole numbers have no point."""
    return repr(value).removesuffix(".0")


def _json_number(value: float) -> str:
    """As C++ std::to_chars: the shorter of the plain and the scientific form, plain if they are as long."""
    if math.isnan(value):
        return "null"
    plain = shortest(value)
    if "e" in plain or not value:
        return plain
    digits = plain.replace(".", "").strip("0")
    exponent = math.floor(math.log10(abs(value)))
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    scientific = f"{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    return scientific if len(scientific) < len(plain) else plain


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
