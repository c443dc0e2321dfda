"""Which expressions are refused, and what is said of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pyproxy.config.cel import NEEDED, BadCel, compile_cel


def refused(expression: str) -> BadCel:
    with pytest.raises(BadCel) as error:
        compile_cel(expression)
    return error.value


def test_what_is_no_expression() -> None:
    pytest.importorskip("cel_expr_python", reason=f"needs the package cel-expr-python: {NEEDED}")
    assert str(refused("a ==")).startswith("is not an expression of CEL: 1:5: Syntax error")
    assert "found no matching overload" in str(refused("response.code == 'a'"))
    unknown = refused("response.flags == 0")
    assert "undeclared reference to 'response.flags'" in str(unknown)
    assert "response.code" in unknown.expected
    assert "request, " in refused("nothing.at.all").expected


def test_without_the_package_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyproxy.config import cel

    cel._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    try:
        error = refused("true")
        assert (str(error), error.expected) == ("needs the package cel-expr-python", NEEDED)
    finally:
        cel._environment.cache_clear()


def test_who_has_no_expression_does_not_import_it() -> None:
    code = (
        "import sys; from pyproxy.telemetry.log_filters import build_log_filter;"
        "from pyproxy.telemetry.formatter import build_formatter;"
        "from pyproxy.config.format import parse_format;"
        "build_formatter(parse_format('%RESPONSE_CODE%'));"
        "assert not [name for name in sys.modules if name.startswith('cel_expr')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
