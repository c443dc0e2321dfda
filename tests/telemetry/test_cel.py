"""CEL over requests that are over: attributes, and how values are written."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from pyproxy.config.cel import ATTRIBUTES
from pyproxy.telemetry import cel
from pyproxy.telemetry.cel import CelExpression, cel_json, cel_text
from tests.telemetry.exchanges import forwarded, unread

pytest.importorskip("cel_expr_python", reason="needs the package cel-expr-python: pip install 'pyproxy-mesh[cel]'")


def test_every_attribute_is_found_or_not_there() -> None:
    assert cel._GETTERS.keys() == ATTRIBUTES.keys()
    for exchange in (forwarded(), unread()):
        for name in ATTRIBUTES:
            CelExpression(name)(*exchange)  # nothing is raised, whatever there is


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("response.code", 200),
        ("request.method + request.url_path", "POST/up/x"),
        ("response.code >= 200 && request.query.contains('a=1')", True),
        ("request.headers['x-b']", "vb"),
        ("request.headers[':path'] == request.path", True),
        ("has(request.headers.nothing)", False),
        ("request.headers['nothing']", None),
        ("request.time < timestamp('2100-01-01T00:00:00Z')", True),
        ("upstream.address.endsWith(string(upstream.port))", True),
        ("1", 1),
    ],
)
def test_values(expression: str, value: Any) -> None:
    assert CelExpression(expression)(*forwarded()) == value


def test_only_what_is_true_holds() -> None:
    exchange = forwarded()
    assert CelExpression("response.code == 200").holds(*exchange)
    for expression in ("1", "'true'", "response.code == 1", "request.headers['nothing'] == ''"):
        assert not CelExpression(expression).holds(*exchange)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (1.5, "1.5"),
        ("a", "a"),
        (b"a", "a"),
        (datetime.timedelta(0), "0"),
        (datetime.timedelta(microseconds=170), "170us"),
        (datetime.timedelta(microseconds=20500), "20.5ms"),
        (datetime.timedelta(seconds=65.5), "1m5.5s"),
        (datetime.timedelta(hours=-2), "-2h"),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "2026-01-02T00:00:00Z"),
    ],
)
def test_in_a_line(value: Any, text: str) -> None:
    assert cel_text(value) == text
    assert cel_json(value) == (value if isinstance(value, bool | float | str) else text)
