"""The layered runtime."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.matchers import Fraction
from pyproxy.config.runtime_values import RuntimeValues


def test_later_layers_win_and_names_join_by_dots() -> None:
    values = RuntimeValues(({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}, "a.c": 5}))
    assert values.as_mapping() == {"a.b": 4, "a.c": 5, "d": 3}


@pytest.mark.parametrize(
    ("value", "number"), [(5, 5), (2.5, 2.5), ("7", 7), ("x", 9), (True, 9), (None, 9), ("nan", 9), ([], 9)]
)
def test_numbers_may_be_written_as_text(value: Any, number: float) -> None:
    assert RuntimeValues(({"k": value},)).number("k", 9) == number


@pytest.mark.parametrize(
    ("value", "share"),
    [
        (25, 0.25),
        ("25", 0.25),
        (250, 1.0),
        (0, 0.0),
        ({"numerator": 5, "denominator": "TEN_THOUSAND"}, 0.0005),
        ({"numerator": 5}, 0.05),
        ({"denominator": "MILLION"}, 0.0),
        (-1, 0.5),
        (True, 0.5),
        (None, 0.5),
    ],
)
def test_a_share_is_a_percentage_or_a_fraction(value: Any, share: float) -> None:
    assert RuntimeValues(({"k": value},)).share(Fraction(50, 100, "k")) == pytest.approx(share)


def test_without_a_key_the_default_counts() -> None:
    values = RuntimeValues(({"": 1},))
    assert values.share(Fraction(1, 1_000_000)) == pytest.approx(1e-6)
    assert values.share(Fraction(200, 100)) == 1.0
