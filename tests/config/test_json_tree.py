"""JSON, and the wider JSON that protobuf's reader (so Envoy) takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.config.invalid import InvalidConfig, Place
from pyproxy.config.json_tree import compose, load

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": {},}', {"a": {}}),
        ('{"a": [1, 2,]}', {"a": [1, 2]}),
        ("{'a': 'b'}", {"a": "b"}),
        ("{'a': 'it\\'s \"b\"'}", {"a": 'it\'s "b"'}),
        ("{a: 1, $b_2: 2}", {"a": 1, "$b_2": 2}),
        ('{"a": "b\nc"}', {"a": "b\nc"}),
        ('{"a": 1.5e3, "b": -0, "c": true, "d": null}', {"a": 1500.0, "b": 0, "c": True, "d": None}),
    ],
)
def test_what_envoy_takes_beyond_json(text: str, value: Any) -> None:
    assert load(text, "f.json") == (value, [])


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "f.json:1:1", "there is no value"),
        ('{"a": {} /* x */}', "f.json:1:10", "a comma or a closing bracket is missing"),
        ('{"a": 1} x', "f.json:1:10", "text after the end"),
        ('{"a":\n  NaN}', "f.json:2:3", "there is no value"),
        ('{"a" 1}', "f.json:1:6", "no ':' after the key 'a'"),
        ('{"a": 01}', "f.json:1:7", "there is no value"),
        ('{"a": tru}', "f.json:1:7", "there is no value"),
        ('{"a": "b}', "f.json:1:7", "a string without an end"),
        ('{"a": "\\q"}', "f.json:1:7", "a string that cannot be read"),
        ("{,}", "f.json:1:2", "there is no key"),
        ("[" * 100_000, "f.json:1:102", "nested more than"),
        ("[" * 200 + "]" * 200, "f.json:1:102", "nested more than"),
    ],
)
def test_what_is_not_json_is_told_with_its_line(text: str, place: str, words: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load(text, "f.json")
    (fault,) = caught.value.faults
    assert str(fault.place) == place
    assert words in fault.reason


def test_a_key_that_is_there_twice_is_a_fault() -> None:
    value, faults = load('{"a": 1,\n "b": {"c": 1,\n "c": 2}}', "f.json")
    assert value == {"a": 1, "b": {"c": 1}}
    assert [f"{fault.place}: {fault.reason}" for fault in faults] == ["f.json:3:2: is given twice (first in line 2)"]


@given(plain)
def test_all_json_is_read(value: Any) -> None:
    assert load(json.dumps(value), "f.json") == (value, [])


@given(plain)
def test_the_scanner_reads_what_the_fast_parser_reads(value: Any) -> None:
    text = json.dumps({"x": value}, indent=1, ensure_ascii=False)
    # The second x sends the text to the scanner, and is dropped by it.
    assert load(text[:-1] + ', "x": 0}', "f.json")[0] == {"x": value}


def refused_at(text: str) -> Place | None:
    try:
        compose(text, "f.json")
    except InvalidConfig as error:
        return error.faults[0].place
    return Place("taken")


@given(st.text(alphabet="{}[]\":,'\\ntrue01-.eE \n", max_size=40))
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    assert refused_at(text) is not None
