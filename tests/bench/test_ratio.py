"""The statistics say what a textbook would, and say it again when asked again."""

import math
import random

import pytest

from bench.ratio import bootstrap, bootstrap_ratio


def test_median_and_interval_of_known_values() -> None:
    estimate = bootstrap([1.0, 2.0, 3.0, 4.0, 5.0])
    assert estimate.median == 3.0
    assert 1.0 <= estimate.low <= 2.0
    assert 4.0 <= estimate.high <= 5.0
    assert estimate.count == 5


def test_the_same_values_give_the_same_interval() -> None:
    values = [random.Random(7).gauss(1.0, 0.1) for _ in range(12)]
    assert bootstrap(values) == bootstrap(values)


def test_one_value_has_no_interval() -> None:
    estimate = bootstrap([0.5])
    assert (estimate.low, estimate.high) == (-math.inf, math.inf)
    assert bootstrap_ratio([0.5]).half_width == math.inf


def test_ratio_is_symmetric() -> None:
    """Half and twice cancel, which an arithmetic mean of ratios gets wrong."""
    ratios = [0.5, 0.5, 2.0, 2.0]
    assert bootstrap_ratio(ratios).median == pytest.approx(1.0)
    forward, backward = bootstrap_ratio([0.4, 0.5, 0.6]), bootstrap_ratio([1 / 0.4, 1 / 0.5, 1 / 0.6])
    assert forward.median == pytest.approx(1 / backward.median)


def test_half_width_of_equal_ratios_is_zero() -> None:
    assert bootstrap_ratio([0.6] * 5).half_width == 0.0


def test_interval_covers_the_truth_about_as_often_as_promised() -> None:
    source = random.Random(11)
    hits = 0
    for trial in range(60):
        estimate = bootstrap_ratio([math.exp(source.gauss(0.0, 0.1)) for _ in range(15)], seed=trial)
        hits += estimate.low <= 1.0 <= estimate.high
    assert hits >= 50


def test_interval_narrows_with_more_values() -> None:
    source = random.Random(3)
    values = [math.exp(source.gauss(0.0, 0.1)) for _ in range(80)]
    assert bootstrap_ratio(values).half_width < bootstrap_ratio(values[:8]).half_width
