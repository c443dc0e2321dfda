"""Single rules: what they let pass, what they expect, and that no rule goes unenforced."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format

from pyproxy.config.descriptors import message_class, pool
from pyproxy.config.pgv_rules import any_duration, compile_rules, duration_seconds, nanoseconds

OTHERS = "ROUND_ROBIN, RING_HASH, RANDOM, MAGLEV, CLUSTER_PROVIDED, LOAD_BALANCING_POLICY_CONFIG"


def verdict(rules: dict[str, Any], value: Any) -> str | None:
    """What is expected instead of the value, None where it is right."""
    parsed = json_format.ParseDict(rules, message_class("validate.FieldRules")(), descriptor_pool=pool())
    field = pool().FindMessageTypeByName("envoy.config.cluster.v3.Cluster").fields_by_name["lb_policy"]
    return next((expected for test in compile_rules(parsed, field) if (expected := test(value))), None)


def duration(seconds: int, nanos: int = 0) -> Any:
    return message_class("google.protobuf.Duration")(seconds=seconds, nanos=nanos)


@pytest.mark.parametrize(
    ("rules", "good", "bad", "expected"),
    [
        ({"uint32": {"gt": 3}}, 4, 3, "a value greater than 3"),
        ({"uint32": {"gte": 3, "lte": 5}}, 5, 6, "a value at most 5"),
        ({"uint64": {"lt": "9"}}, 8, 9, "a value less than 9"),
        ({"double": {"gte": 0.5}}, 0.5, 0.4, "a value at least 0.5"),
        ({"double": {"lte": 1}}, 1.0, float("nan"), "a value at most 1"),
        ({"int32": {"in": [1, 2]}}, 2, 3, "one of 1, 2"),
        ({"int32": {"notIn": [1, 2]}}, 3, 1, "none of 1, 2"),
        ({"int64": {"const": "7"}}, 7, 8, "7"),
        ({"bool": {"const": True}}, True, False, "true"),
        ({"string": {"minLen": 1}}, "a", "", "text that is not empty"),
        ({"string": {"minLen": 2}}, "éé", "é", "at least 2 characters"),
        ({"string": {"maxBytes": 3}}, "é", "éé", "at most 3 bytes"),
        ({"string": {"pattern": "^a"}}, "ab", "ba", "text that matches ^a"),
        ({"string": {"prefix": "%"}}, "%a", "a%", "text that starts with '%'"),
        ({"string": {"suffix": "%"}}, "a%", "%a", "text that ends with '%'"),
        ({"string": {"in": ["http", "https"]}}, "http", "ftp", "one of http, https"),
        ({"string": {"wellKnownRegex": 1}}, ":path", "a b", "the name of a header (RFC 9110 5.6.2)"),
        ({"string": {"wellKnownRegex": 2}}, "a\tb", "a\x01", "the value of a header, without control characters"),
        ({"string": {"wellKnownRegex": 1, "strict": False}}, "a b", "a\n", "text without NUL, CR and LF"),
        ({"bytes": {"minLen": "2"}}, b"ab", b"a", "at least 2 bytes"),
        ({"enum": {"notIn": [1]}}, 0, 1, f"one of {OTHERS}"),
        ({"duration": {"gt": "0s"}}, duration(0, 1), duration(0), "a value greater than 0s"),
        ({"duration": {"gte": "0.001s"}}, duration(0, 1_000_000), duration(0, 999_999), "a value at least 0.001s"),
    ],
)
def test_rules(rules: dict[str, Any], good: Any, bad: Any, expected: str) -> None:
    assert verdict(rules, good) is None
    assert verdict(rules, bad) == expected


@pytest.mark.parametrize("rules", [{"string": {"uuid": True}}, {"bytes": {"ip": True}}, {"duration": {"in": ["1s"]}}])
def test_a_rule_that_nobody_enforces_is_an_error(rules: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedError, match="validate rules"):
        verdict(rules, "")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (duration(5), "5s"),
        (duration(0, 250_000_000), "0.25s"),
        (duration(-1, -500_000_000), "-1.5s"),
        (duration(0), "0s"),
    ],
)
def test_durations_are_shown_as_they_are_written(value: Any, text: str) -> None:
    assert duration_seconds(value) == text


def test_durations_are_compared_in_nanoseconds() -> None:
    assert nanoseconds(duration(2, 3)) == 2_000_000_003


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (duration(9_223_372_035, 999_999_999), None),
        (duration(9_223_372_036), "a duration of at most 9223372035s"),
        (duration(-1), "a duration that is not negative"),
        (duration(0, -1), "a duration that is not negative"),
    ],
)
def test_what_is_asked_of_every_duration(value: Any, expected: str | None) -> None:
    assert any_duration(value) == expected
