"""YAML as Envoy reads it. The values were read off Envoy 1.40's config dump of `node.metadata`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.config.invalid import InvalidConfig, Place
from pyproxy.config.yaml_tree import Plainer, compose


def read(text: str | bytes) -> tuple[Any, list[str]]:
    root, _ = compose(text, "f.yaml")
    assert root is not None
    plainer = Plainer("f.yaml")
    value = plainer.value(root)
    return value, [f"{fault.place}: {fault}" for fault in plainer.faults]


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("1.5", "1.5"),
        ("1.0", "1.0"),
        ("1e3", "1e3"),
        ("0x10", 16),
        ("012", 10),
        ("08", "08"),
        ("0o7", "0o7"),
        ("1_000", "1_000"),
        ("-7", -7),
        ("+1", 1),
        ("0", 0),
        ("2147483647", 2147483647),
        ("2147483648", "2147483648"),
        ("-2147483648", -2147483648),
        ("9007199254740993", "9007199254740993"),
        ("99999999999999999999", "99999999999999999999"),
        ("yes", True),
        ("On", True),
        ("y", True),
        ("TRUE", True),
        ("tRue", "tRue"),
        ("off", False),
        ("N", False),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("", None),
        ("'5'", "5"),
        ('"true"', "true"),
        ("''", ""),
        (".inf", ".inf"),
        ("2020-01-01", "2020-01-01"),
        ("12:30:45", "12:30:45"),
        ("!!str 1", 1),
        ("!foo bar", "bar"),
        ('"\\u00e9\\x41"', "éA"),
        ("|\n  5\n", "5\n"),
    ],
)
def test_scalars_are_read_as_envoy_reads_them(scalar: str, value: Any) -> None:
    assert read(f"a: {scalar}\n") == ({"a": value}, [])


def test_keys_are_text_whatever_they_look_like() -> None:
    assert read("{5: a, true: b, null: c, 1.5: d}")[0] == {"5": "a", "true": "b", "null": "c", "1.5": "d"}


def test_anchors_stand_for_what_they_name() -> None:
    assert read("a: &x {b: 1s}\nc: *x\nd: [*x, *x]\n")[0] == {
        "a": {"b": "1s"},
        "c": {"b": "1s"},
        "d": [{"b": "1s"}] * 2,
    }


def test_a_key_that_is_there_twice_names_both_lines() -> None:
    value, faults = read("a:\n  b: 1\n  c: 2\n  b: 3\n")
    assert value == {"a": {"b": 1, "c": 2}}
    assert faults == ["f.yaml:4:3: a.b: is given twice (first in line 2); expected each key once"]


def test_a_key_that_is_a_list_is_a_fault() -> None:
    assert read("? [a]\n: b\n")[1] == [
        "f.yaml:1:3: (the whole document): a key is a list or a mapping; expected a text as key"
    ]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a:\n  b: [\n    - c\n", "f.yaml:3:5", "did not find expected node content"),
        ("a: b: c\n", "f.yaml:1:5", "mapping values are not allowed"),
        ("a:\n\tb: 1\n", "f.yaml:2:1", "cannot start any token"),
        ("a: *b\n", "f.yaml:1:4", "found undefined alias"),
        ("a: 'b\n", "f.yaml:2:1", "unexpected end of stream"),
        ("a: \x01\n", "f.yaml:1:4", "not allowed"),
    ],
)
def test_what_is_not_yaml_is_told_with_its_line(text: str, place: str, words: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        read(text)
    (fault,) = caught.value.faults
    assert str(fault.place) == place
    assert words in fault.reason


def test_an_alias_inside_its_own_anchor_ends() -> None:
    with pytest.raises(InvalidConfig, match="an alias contains itself"):
        read("a: &x {b: *x}\n")


def test_aliases_of_aliases_do_not_grow_without_bound() -> None:
    lines = ["a0: &a0 [" + ", ".join(["x"] * 50) + "]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 50)}]" for n in range(1, 8)]
    with pytest.raises(InvalidConfig, match="nested too deeply"):
        read("\n".join(lines))


def test_an_empty_text_has_no_root() -> None:
    assert compose("# nothing\n", "f.yaml") == (None, False)


def test_a_second_document_is_noticed() -> None:
    root, more = compose("a: 1\n---\nb: [\n", "f.yaml")
    assert root is not None
    assert more


def refused_at(text: str) -> Place | None:
    try:
        root, _ = compose(text, "f.yaml")
        if root is not None:
            Plainer("f.yaml").value(root)
    except InvalidConfig as error:
        return error.faults[0].place
    return Place("taken")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    assert refused_at(text) is not None
