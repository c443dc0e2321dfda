"""Format strings as values. What is accepted and refused is compared with Envoy in test_compile_verdicts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.config.format import (
    BadFormat,
    Format,
    JsonArray,
    JsonObject,
    Operator,
    parse_format,
    parse_header_format,
    parse_json_format,
)
from pyproxy.config.format_operators import OPERATORS


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("plain", ("plain",)),
        ("%PROTOCOL%", (Operator("PROTOCOL"),)),
        ("%PROTOCOL()%", (Operator("PROTOCOL"),)),
        ("a%%b", ("a%b",)),
        ("%%%PROTOCOL%%%\n", ("%", Operator("PROTOCOL"), "%\n")),
        ("[%START_TIME(%s.%3f)%] x", ("[", Operator("START_TIME", "%s.%3f"), "] x")),
        ("%REQ(X?:PATH):12%", (Operator("REQ", "X?:PATH", 12),)),
        ("%REQ(a)%%RESP(b)%", (Operator("REQ", "a"), Operator("RESP", "b"))),
        ("%QUERY_PARAM(a(b)c)%)", (Operator("QUERY_PARAM", "a(b)c"), ")")),
        ("%QUERY_PARAM(a)b)%", (Operator("QUERY_PARAM", "a)b"),)),
        ("%START_TIME(%Y%)%", (Operator("START_TIME", "%Y%"),)),
        ("é%PROTOCOL%ü", ("é", Operator("PROTOCOL"), "ü")),
    ],
)
def test_a_text_becomes_literals_and_operators(text: str, parts: tuple[str | Operator, ...]) -> None:
    assert parse_format(text) == Format(parts)


def test_omitting_is_part_of_the_value() -> None:
    assert parse_format("%PROTOCOL%", omit_empty=True) == Format((Operator("PROTOCOL"),), omit_empty=True)


@pytest.mark.parametrize(
    ("text", "reason", "nearest"),
    [
        ("%PROTOCL%", "unknown operator %PROTOCL%", "PROTOCOL"),
        ("%RESPONSE_COD%", "unknown operator %RESPONSE_COD%", "RESPONSE_CODE"),
        ("100%", "no valid operator at character 3", ""),
        ("%REQ%", "%REQ% needs an argument", ""),
        ("%DURATION:3%", "takes neither an argument nor a length", ""),
        ("%REQ(a b)%", "'a b' is not a header name", ""),
    ],
)
def test_a_mistake_is_named(text: str, reason: str, nearest: str) -> None:
    with pytest.raises(BadFormat) as raised:
        parse_format(text)
    assert reason in str(raised.value)
    assert raised.value.nearest == nearest


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ('%UPSTREAM_METADATA(["ns", "key"])%', "%UPSTREAM_METADATA(ns:key)%"),
        ('a %DYNAMIC_METADATA(["ns","a","b"])% b', "a %DYNAMIC_METADATA(ns:a:b)% b"),
        ("%PER_REQUEST_STATE(key)%", "%FILTER_STATE(key:PLAIN)%"),
        ("%REQ(a)%", "%REQ(a)%"),
    ],
)
def test_header_values_know_older_notations(text: str, same_as: str) -> None:
    assert parse_header_format(text) == parse_format(same_as)


def test_only_header_values_know_them() -> None:
    with pytest.raises(BadFormat):
        parse_format("%PER_REQUEST_STATE(key)%")


def test_json_keeps_types_and_sorts_keys_by_their_bytes() -> None:
    fields = {"b": "%PROTOCOL%", "a": 1.0, "ä": None, "B": [True, "x", {"y": 1.5}], "z": {"d": 1, "c": "50%%"}}
    assert parse_json_format(fields).root == JsonObject(
        (
            ("B", JsonArray((True, "x", JsonObject((("y", 1.5),))))),
            ("a", 1),
            ("b", Format((Operator("PROTOCOL"),))),
            ("z", JsonObject((("c", Format(("50%",))), ("d", 1)))),
            ("ä", None),
        )
    )


def test_a_json_number_without_a_fraction_is_whole() -> None:
    ((_, number),) = parse_json_format({"a": 1.0}).root.items
    assert isinstance(number, int)


def test_a_mistake_deep_in_json_is_found() -> None:
    with pytest.raises(BadFormat, match="NOPE"):
        parse_json_format({"a": [{"b": "%NOPE%"}]})


@given(st.lists(st.one_of(st.sampled_from(sorted(OPERATORS)), st.text(st.characters(exclude_characters="%")))))
def test_what_is_written_is_what_is_read(pieces: list[str]) -> None:
    """Literals and operators that take nothing, in any order."""
    bare = {name for name, rule in OPERATORS.items() if rule.argument.value == "none"}
    text = "".join(f"%{piece}%" if piece in bare else piece for piece in pieces)
    expected = "".join(f"<{piece}>" if piece in bare else piece for piece in pieces)
    parts = parse_format(text).parts
    assert "".join(f"<{part.name}>" if isinstance(part, Operator) else part for part in parts) == expected


@given(st.text(alphabet="%()REQPATH:?ab05é\n ", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parsed = parse_format(text)
    except BadFormat:
        return
    assert hash(parsed) == hash(parse_format(text))
