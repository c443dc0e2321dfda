from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.telemetry import histogram
from pyproxy.telemetry.histogram import BUCKETS, MOST, bin_of, lower_bound, width

values = st.integers(0, 10**7) | st.integers(0, 200) | st.integers(0, MOST)


def bins_of(samples: list[int]) -> dict[int, int]:
    return dict(Counter(bin_of(sample) for sample in samples))


@given(values)
def test_a_value_lies_in_its_bin(value: int) -> None:
    number = bin_of(value)
    bottom = lower_bound(number)
    assert bottom <= value * (1 + 1e-12)
    assert value <= (bottom + width(number)) * (1 + 1e-12)


@given(st.integers(1, MOST))
def test_a_bin_is_never_wider_than_a_tenth_of_its_values(value: int) -> None:
    assert width(bin_of(value)) <= value / 10 * (1 + 1e-12)


@given(values, values)
def test_bins_are_in_the_order_of_values(a: int, b: int) -> None:
    assert (bin_of(a) <= bin_of(b)) or a > b


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (-5, 0),
        (0, 0),
        (1, 1),
        (99, 99),
        (100, 100),
        (109, 100),
        (110, 101),
        (999, 189),
        (1000, 190),
        (10**30, bin_of(MOST)),
    ],
)
def test_edges(value: int, number: int) -> None:
    assert bin_of(value) == number


@given(st.lists(values))
def test_counts_up_to_a_bound_are_those_of_the_samples(samples: list[int]) -> None:
    wanted = [sum(bin_of(sample) <= bin_of(int(bound)) for sample in samples) for bound in BUCKETS]
    assert histogram.cumulative_counts(bins_of(samples)) == wanted
    assert sum(histogram.disjoint_counts(bins_of(samples))) == wanted[-1]


@given(st.lists(values, min_size=1))
def test_quantiles_rise_from_the_least_bin_to_the_greatest(samples: list[int]) -> None:
    found = histogram.quantiles(bins_of(samples))
    assert found == sorted(found)
    assert lower_bound(bin_of(min(samples))) <= found[0]
    top = bin_of(max(samples))
    assert found[-1] <= lower_bound(top) + width(top)


def test_without_samples_there_are_no_quantiles() -> None:
    assert all(math.isnan(one) for one in histogram.quantiles({}))
    assert histogram.approximate_sum({}) == 0
    assert histogram.total({}) == 0


@given(st.lists(st.integers(10, 10**6)))
def test_the_sum_is_close(samples: list[int]) -> None:
    assert histogram.approximate_sum(bins_of(samples)) == pytest.approx(sum(samples), rel=0.05)


@given(st.lists(values), st.lists(values))
def test_the_difference_of_two_states_is_what_came_between(before: list[int], more: list[int]) -> None:
    assert histogram.difference(bins_of(before + more), bins_of(before)) == bins_of(more)
