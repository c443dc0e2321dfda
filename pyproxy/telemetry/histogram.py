"""Histograms in Envoy's bins: two decimal digits each, kept as a mapping of bin number to count.

Envoy counts in log-linear bins whose edges have two significant decimal digits (libcircllhist). The same bins here
make every number that is shown (bucket counts, quantiles, sums) the number that Envoy would show, digit for digit.
Values are whole numbers from 0, so a bin has a small number: 0..99 are their own bins, then there are 90 a decade.
Used by the recording side (`telemetry.metrics`) and by the renderers; never on the request path.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate

Bins = Mapping[int, int]

MOST = 10**18 - 1
"""Larger values count as this one."""
QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0)
# fmt: off
BUCKETS = (
    0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0, 30000.0, 60000.0,
    300000.0, 600000.0, 1800000.0, 3600000.0,
)
# fmt: on
"""Envoy's default buckets (envoy.config.metrics.v3.HistogramBucketSettings)."""

FEW = 100
"""Values below it are their own bins."""
_PER_DECADE = 90


def bin_of(value: int) -> int:
    """The number of the bin that a value falls into; what is negative counts as 0."""
    if value < FEW:
        return max(0, value)
    digits = str(min(value, MOST))
    return FEW + _PER_DECADE * (len(digits) - 3) + int(digits[:2]) - 10


def lower_bound(number: int) -> float:
    """Computed as libcircllhist does it, so that the last bit is the same."""
    mantissa, exponent = _parts(number)
    return mantissa / 10.0 * 10.0**exponent


def width(number: int) -> float:
    """The bin of zero has no width."""
    return 10.0 ** _parts(number)[1] / 10.0 if number else 0.0


def total(bins: Bins) -> int:
    return sum(bins.values())


def approximate_sum(bins: Bins) -> float:
    """Every sample counts as the point of its bin with the least relative error."""
    result = 0.0
    for number in sorted(bins):
        bottom = lower_bound(number)
        if bottom:
            wide = width(number)
            bottom += wide * (bottom / (bottom + (bottom + wide)))
        result += bottom * bins[number]
    return result


def cumulative_counts(bins: Bins, bounds: Sequence[float] = BUCKETS) -> list[int]:
    """For each bound how many samples lie in bins up to and including its own."""
    edges = _edges(tuple(bounds))
    counts = [0] * (len(edges) + 1)
    for number, count in bins.items():
        counts[bisect_left(edges, number)] += count
    counts.pop()  # beyond the last bound
    return list(accumulate(counts))


@functools.lru_cache(maxsize=64)
def _edges(bounds: tuple[float, ...]) -> list[int]:
    return [bin_of(int(bound)) for bound in bounds]


def disjoint_counts(bins: Bins, bounds: Sequence[float] = BUCKETS) -> list[int]:
    below = 0
    result = []
    for count in cumulative_counts(bins, bounds):
        result.append(count - below)
        below = count
    return result


def quantiles(bins: Bins, wanted: Sequence[float] = QUANTILES) -> list[float]:
    """Ascending quantiles; each bin's samples are taken to be spread evenly over it. NaN where there is no sample."""
    count = float(total(bins))
    if not count:
        return [math.nan] * len(wanted)
    ordered = [(number, held) for number, held in sorted(bins.items()) if held]
    position = 0
    below = 0.0
    result = []
    for quantile in wanted:
        rank = count * quantile
        while position < len(ordered) - 1 and below + ordered[position][1] < rank:
            below += ordered[position][1]
            position += 1
        number, held = ordered[position]
        place = float(math.ceil(rank - below)) or 1.0
        result.append(lower_bound(number) + place / (held + 1) * width(number))
    return result


def difference(later: Bins, earlier: Bins) -> dict[int, int]:
    """The samples that came between two states of one histogram."""
    return {number: more for number, held in later.items() if (more := held - earlier.get(number, 0)) > 0}


def _parts(number: int) -> tuple[int, int]:
    """(mantissa, exponent): the bin begins at mantissa / 10 * 10 ** exponent."""
    if number < 10:
        return number * 10, 0
    if number < FEW:
        return number, 1
    decade, place = divmod(number - FEW, _PER_DECADE)
    return place + 10, decade + 2
