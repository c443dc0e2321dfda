"""The statistics: medians with a bootstrap confidence interval, of ratios (by their logarithms) or of differences."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median and its confidence interval; one value alone has no interval, so it reaches everywhere."""

    median: float
    low: float
    high: float
    count: int

    @property
    def half_width(self) -> float:
        """Of a ratio: 0.03 means that the truth is within 3 % either way."""
        return math.sqrt(self.high / self.low) - 1 if self.low > 0 else math.inf


def bootstrap(values: Sequence[float], seed: int = 1) -> Estimate:
    """The median with its percentile-bootstrap interval; seeded, so that the same values give the same answer."""
    if len(values) < 2:
        return Estimate(values[0], -math.inf, math.inf, 1)
    source = random.Random(seed)
    medians = sorted(median(source.choices(values, k=len(values))) for _ in range(RESAMPLES))
    tail = (1 - CONFIDENCE) / 2
    low, high = medians[int(tail * RESAMPLES)], medians[int((1 - tail) * RESAMPLES) - 1]
    return Estimate(median(values), low, high, len(values))


def bootstrap_ratio(ratios: Sequence[float], seed: int = 1) -> Estimate:
    """The same for ratios: half and twice are equally far from one, so it is the logarithms that are averaged."""
    logs = bootstrap([math.log(ratio) for ratio in ratios], seed)
    high = math.exp(logs.high) if logs.high < math.inf else math.inf
    return Estimate(math.exp(logs.median), math.exp(logs.low), high, logs.count)
