"""Which plain values a scalar takes. The verdicts are Envoy 1.40's."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pyproxy.config.descriptors import pool
from pyproxy.config.scalars import Misfit, boolean, describe, enum, floating, integer, raw, single, text

UINT32 = integer(0, (1 << 32) - 1)
LB_POLICY = enum(pool().FindEnumTypeByName("envoy.config.cluster.v3.Cluster.LbPolicy"))


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5),
        ("5", 5),
        ("0x10", 16),
        ("1e3", 1000),
        ("1.0", 1),
        ("5.0e1", 50),
        (5.0, 5),
        ("+5", 5),
        (4294967295, 4294967295),
    ],
)
def test_whole_numbers(value: Any, number: int) -> None:
    assert UINT32(value) == number


@pytest.mark.parametrize(
    "value", ["0o14", "1_000", "1.5", 1.5, " 5", -1, "-1", 4294967296, True, "", [5], {}, ".inf", "0b11", "५", math.inf]
)
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(Misfit, match="a whole number from 0 to 4294967295"):
        UINT32(value)


@pytest.mark.parametrize("value", [True, "true", "yes", "1", "tRue", "T"])
def test_true(value: Any) -> None:
    assert boolean(value) is True


@pytest.mark.parametrize("value", [False, "false", "No", "0", "f"])
def test_false(value: Any) -> None:
    assert boolean(value) is False


@pytest.mark.parametrize("value", [1, 0, 1.0, "", "on", None, []])
def test_what_is_no_bool(value: Any) -> None:
    with pytest.raises(Misfit, match="true or false"):
        boolean(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5.0),
        ("5.5", 5.5),
        ("1e2", 100.0),
        (" 5", 5.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("0x5", 5.0),
        ("-Infinity", -math.inf),
    ],
)
def test_numbers(value: Any, number: float) -> None:
    assert floating(value) == number


def test_not_a_number_is_a_number() -> None:
    assert math.isnan(floating("NaN"))


@pytest.mark.parametrize("value", ["", "abc", True, None, "1e", "1_0"])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(Misfit, match="a number"):
        floating(value)


def test_a_float_that_is_too_large_for_its_field_is_infinite() -> None:
    assert single(1e39) == math.inf
    assert single("-1e39") == -math.inf
    assert single(1.5) == 1.5


@pytest.mark.parametrize(
    ("value", "data"),
    [("aGk=", b"hi"), ("aGk", b"hi"), ("_-8=", b"\xff\xef"), ("+_8=", b"\xfb\xff"), ("", b""), ("aGl=", b"hi")],
)
def test_bytes(value: str, data: bytes) -> None:
    assert raw(value) == data


@pytest.mark.parametrize("value", ["a", "a b=", "aGk==", 5, "é", None])
def test_what_is_no_base64(value: Any) -> None:
    with pytest.raises(Misfit, match="bytes in base64"):
        raw(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [("RANDOM", 3), ("random", 3), ("Least_Request", 1), (1, 1), ("1", 1), (99, 99), ("ROUND_ROBIN", 0)],
)
def test_enums(value: Any, number: int) -> None:
    assert LB_POLICY(value) == number


@pytest.mark.parametrize(
    ("value", "nearest"),
    [("ROUNDROBIN", "ROUND_ROBIN"), ("round-robin", "ROUND_ROBIN"), ("zzz", ""), ("1.0", ""), (True, "")],
)
def test_what_is_no_enum_value(value: Any, nearest: str) -> None:
    with pytest.raises(Misfit) as caught:
        LB_POLICY(value)
    assert caught.value.nearest == nearest
    assert caught.value.expected.startswith("one of ROUND_ROBIN, LEAST_REQUEST, ")


@pytest.mark.parametrize(
    ("value", "expected"), [(5, "text in quotes"), (True, "text in quotes"), ([], "text"), ({}, "text")]
)
def test_what_is_no_text(value: Any, expected: str) -> None:
    with pytest.raises(Misfit) as caught:
        text(value)
    assert caught.value.expected == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "the bool true"),
        (5, "the number 5"),
        ("a", "the text 'a'"),
        ([], "a list"),
        ({}, "a mapping"),
        ("x" * 99, f"the text '{'x' * 57}...'"),
    ],
)
def test_values_in_words(value: Any, words: str) -> None:
    assert describe(value) == words
