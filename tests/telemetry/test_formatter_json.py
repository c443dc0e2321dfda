"""JSON lines. The expected ones are what Envoy 1.40 wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.config.format import parse_json_format
from pyproxy.telemetry.formatter import build_json_formatter
from tests.telemetry.exchanges import forwarded, unread

FIELDS: dict[str, Any] = {
    "a": "%REQ(nope)%",
    "b": "%REQ(nope)% x %RESP(nope)%",
    "c": {"d": "%REQ(nope)%", "e": {"f": "%REQ(nope)%"}},
    "l": ["%REQ(nope)%", "%RESPONSE_CODE%", 1, 1.5, True, None, {"z": "%REQ(nope)%"}, []],
    "n": 3,
    "fl": 0.1,
    "t": True,
    "nul": None,
    "s": "lit",
    "flags": "%RESPONSE_FLAGS%",
    "code": "%RESPONSE_CODE%",
    "codes": "%RESPONSE_CODE% ",
    "e": "",
    "B": 'é"\\\n\x01/<>&\u2028',
    "empty": {},
    "pct": "100%%",
    "Z": "%BYTES_SENT%%BYTES_RECEIVED%",
}


def line(fields: dict[str, Any], *, omit_empty: bool = False) -> str:
    return build_json_formatter(parse_json_format(fields, omit_empty=omit_empty))(*forwarded())


def test_a_whole_line() -> None:
    assert line(FIELDS) == (
        '{"B":"é\\"\\\\\\n\\u0001/<>&\u2028","Z":"2653","a":null,"b":"- x -","c":{"d":null,"e":{"f":null}},"code":200,'
        '"codes":"200 ","e":"","empty":{},"fl":0.1,"flags":"-","l":[null,200,1,1.5,true,null,{"z":null},[]],"n":3,'
        '"nul":null,"pct":"100%","s":"lit","t":true}\n'
    )


def test_a_line_without_what_is_unset() -> None:
    assert line(FIELDS, omit_empty=True) == (
        '{"B":"é\\"\\\\\\n\\u0001/<>&\u2028","Z":"2653","b":" x ","code":200,"codes":"200 ","e":"","fl":0.1,'
        '"flags":"-","l":[200,1,1.5,true,[]],"n":3,"pct":"100%","s":"lit","t":true}\n'
    )
    assert line({"a": "%REQ(nope)%", "b": None}, omit_empty=True) == "{}\n"
    assert line({}) == "{}\n"


@pytest.mark.parametrize(
    ("operator", "answered", "not_read"),
    [
        ("RESPONSE_CODE", 200, 400),
        ("BYTES_SENT", 265, 0),
        ("DURATION", 20, 2),
        ("REQUEST_DURATION", 1, None),
        ("UPSTREAM_REMOTE_PORT", 9000, None),
        ("DOWNSTREAM_REMOTE_PORT", 3333, 3333),
        ("UPSTREAM_HOST", "127.0.0.1:9000", None),
        ("RESPONSE_FLAGS", "-", "DPE"),
        ("REQ(X-E)", "", None),
        ("REQ(X-J)", 'a"b\\c', None),
        ("REQ(X-U)", "é€", None),
        ("REQ(X-U):1", "\u00c3", None),
        ("REQ(X-BAD)", "a\tbÿâ\x82¬", None),
        ("REQ(X-BAD):3", "a\tb", None),
        ("RESP(:STATUS)", "200", "400"),
        ("START_TIME(%s)", "1795228202", "1795228202"),
        ("METADATA(ROUTE:ns:n)", 3, None),
        ("METADATA(ROUTE:ns:b)", True, None),
        ("METADATA(ROUTE:ns:s)", 's"q', None),
        ("METADATA(ROUTE:ns:k)", {"n": 1.5, "z": "zed"}, None),
        ("METADATA(ROUTE:ns:l)", [1, "a", None], None),
        ("METADATA(ROUTE:ns:nul)", None, None),
        ("UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", "", None),
        ("ENVIRONMENT(PYPROXY_NOT_SET)", "-", "-"),
        ("LOCAL_REPLY_BODY", "", ""),
        ("DOWNSTREAM_TLS_VERSION", None, None),
    ],
)
def test_operators_keep_their_type(operator: str, answered: object, not_read: object) -> None:
    fields = {"k": f"%{operator}%", "among": f"<%{operator}%>"}
    for omit_empty in (False, True):
        formatter = build_json_formatter(parse_json_format(fields, omit_empty=omit_empty))
        for exchange, expected in ((forwarded(), answered), (unread(), not_read)):
            found = json.loads(formatter(*exchange))
            assert found.get("k") == expected
            assert type(found.get("k")) is type(expected)
            assert ("k" in found) is (expected is not None or not omit_empty)


@given(st.binary(max_size=20), st.text(max_size=10))
def test_every_line_is_one_line_of_json(value: bytes, literal: str) -> None:
    request, response = forwarded()
    request.headers.set(b"x-a", value)
    text = literal.replace("%", "%%")
    for omit_empty in (False, True):
        fields = {"k": "%REQ(x-a)%", text: {"among": f"{text}%REQ(x-a)%{text}"}, "const": [text]}
        made = build_json_formatter(parse_json_format(fields, omit_empty=omit_empty))(request, response)
        assert made.endswith("}\n")
        assert "\n" not in made[:-1]
        found = json.loads(made)
        try:
            expected = value.decode()
        except UnicodeDecodeError:
            expected = value.decode("latin-1")
        if text not in ("k", "const"):
            assert found["k"] == expected
            assert found[text]["among"] == literal + expected + literal
            assert found["const"] == [literal if "%" in text else text]
