"""Durations, times, structs and wrappers in YAML. The verdicts are Envoy 1.40's."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.config.descriptors import message_class
from pyproxy.config.fill import Filling
from pyproxy.config.well_known import FILLERS


def fill(kind: str, value: Any) -> tuple[Any, list[str]]:
    message = message_class(f"google.protobuf.{kind}")()
    filling = Filling()
    FILLERS[f"google.protobuf.{kind}"](filling, message, value, ("x",))
    return message, [str(fault) for fault in filling.faults]


@pytest.mark.parametrize(
    ("value", "seconds", "nanos"),
    [
        ("1s", 1, 0),
        ("0.25s", 0, 250_000_000),
        ("-1.5s", -1, -500_000_000),
        ("1.123456789s", 1, 123_456_789),
        ("0.000000001s", 0, 1),
        ("315576000000s", 315_576_000_000, 0),
        ({"seconds": 5}, 5, 0),
        ({"seconds": "5", "nanos": 1}, 5, 1),
        ({}, 0, 0),
    ],
)
def test_durations(value: Any, seconds: int, nanos: int) -> None:
    message, faults = fill("Duration", value)
    assert (message.seconds, message.nanos, faults) == (seconds, nanos, [])


@pytest.mark.parametrize(
    ("value", "nearest"),
    [
        ("5", "5s"),
        (5, "5s"),
        (1.5, "1.5s"),
        ("5 s", "5s"),
        ("5ms", "0.005s"),
        ("1m", "60s"),
        ("2h", "7200s"),
        ("1S", "1s"),
        (".5s", "0.5s"),
        ("1.s", ""),
        ("+1s", ""),
        ("1e3s", ""),
        ("", ""),
        ("1.1234567891s", "1.123456789s"),
        (True, ""),
        ([], ""),
    ],
)
def test_a_bad_duration_comes_with_the_likely_one(value: Any, nearest: str) -> None:
    (fault,) = fill("Duration", value)[1]
    hint = f"; did you mean {nearest!r}?" if nearest else ""
    assert fault.endswith(f"; expected a duration in seconds with the suffix 's', such as '0.25s'{hint}")


def test_a_duration_beyond_protobuf_is_refused() -> None:
    assert "at most 10,000 years" in fill("Duration", "315576000001s")[1][0]


def test_an_unknown_field_of_a_duration_object() -> None:
    assert "unknown field 'secs'" in fill("Duration", {"secs": 1})[1][0]


@pytest.mark.parametrize("value", [5, "5", {"value": 5}, {"value": "5"}])
def test_wrappers(value: Any) -> None:
    message, faults = fill("UInt32Value", value)
    assert (message.value, faults) == (5, [])


@pytest.mark.parametrize("value", [True, [5], -1, "x"])
def test_what_a_wrapper_does_not_take(value: Any) -> None:
    assert "expected a whole number from 0 to 4294967295" in fill("UInt32Value", value)[1][0]


def test_times() -> None:
    assert fill("Timestamp", "2026-01-31T12:00:00Z")[0].seconds == 1769860800
    assert "expected a time such as" in fill("Timestamp", "yesterday")[1][0]
    assert "expected a time such as" in fill("Timestamp", 5)[1][0]


def test_structs_are_mappings_and_list_values_are_lists() -> None:
    assert "expected a mapping" in fill("Struct", [])[1][0]
    assert "expected a list" in fill("ListValue", {})[1][0]


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=10,
    )
)
def test_any_json_value_is_kept_in_a_struct(value: Any) -> None:
    message, faults = fill("Struct", {"a": value})
    assert faults == []
    assert json_format.MessageToDict(message) == {"a": value}
