"""A log line as steps that are taken in C (`http.native.LineWriter`).

The code of a line is that for Python (`formatter_source`). Of its pieces those that most lines have are recognised:
literal text, an attribute that is remembered in JSON, a number, a header. The others stay Python, neighbours in one
function.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, Final

from pyproxy.telemetry.formatter_source import NO_HEADERS, Formatter, compiled, joined

try:
    if os.environ.get("PYPROXY_PURE"):
        raise ImportError
    from pyproxy.http.native import LineWriter as _LineWriter

    LineWriter: Callable[[list[tuple[Any, ...]], Formatter], Formatter] | None = _LineWriter
except ImportError:  # it was built without a compiler
    LineWriter = None

_LITERAL, _NUMBER, _ATTRIBUTE, _HEADER, _TEXT, _CALL, _EITHER, _HEADER_OR, _DURATION, _TIME = range(10)
_OWNERS: Final = {"request": 0, "info": 1, "connection": 2, "upstream": 3}
_REQUEST, _RESPONSE = 0, 4

_NAME: Final = re.compile(r"c\d+")
_ATTRIBUTE_NUMBER: Final = re.compile(r"\(info\.(\w+)\)")
_REMEMBERED: Final = re.compile(r"(c\d+)\[\(?(request|info|connection|upstream)\.(\w+)( or None)?\)?\]")
_REMEMBERED_HEADER: Final = re.compile(r"(c\d+)\[(response_)?first\((c\d+)\)\]")
_QUOTED_HEADER: Final = re.compile(
    r"\((c\d+) if \(v := (response_)?first\((c\d+)\)\) is None else (c\d+)\(v\.decode\(\)\)\)"
)
_EITHER_OF: Final = re.compile(r"(c\d+)\[(info|upstream)\.(\w+) or \2\.(\w+)\]")
_HEADER_OR_ATTRIBUTE: Final = re.compile(
    r"(c\d+)\[u if \(u := \(first\((c\d+)\)\)\) is not None else \(request\.(\w+) or None\)\]"
)
_SINCE_START: Final = re.compile(r"\(int\(\(\(info\.end or (c\d+)\(\)\) - info\.start\) \* 1000\)\)")
_START: Final = re.compile(r"(c\d+)\[n := int\(w := info\.start_wall\)\] \+ (c\d+)\[int\(\(w - n\) \* 1000\)\]")


def in_steps(codes: list[str], names: dict[str, Any], whole: Formatter) -> Formatter:
    """The same line as `whole`, which is made of `codes`; `whole` itself where there is no C."""
    if LineWriter is None:
        return whole
    steps: list[tuple[Any, ...]] = []
    rest: list[str] = []
    for code in codes:
        step = _step(code, names)
        if step is None:
            rest.append(code)
            continue
        if rest:
            steps.append(_python(rest, names))
            rest = []
        steps.append(step)
    if rest:
        steps.append(_python(rest, names))
    return LineWriter(steps, whole)


def _step(code: str, names: dict[str, Any]) -> tuple[Any, ...] | None:
    """None for what stays Python."""
    if _NAME.fullmatch(code):
        return (_LITERAL, names[code])
    if found := _ATTRIBUTE_NUMBER.fullmatch(code):
        return (_NUMBER, _OWNERS["info"], found[1])
    if found := _REMEMBERED.fullmatch(code):
        return (_ATTRIBUTE, _OWNERS[found[2]], found[3], names[found[1]], bool(found[4]))
    if found := _REMEMBERED_HEADER.fullmatch(code):
        return (_HEADER, _RESPONSE if found[2] else _REQUEST, names[found[3]], names[found[1]])
    if found := _QUOTED_HEADER.fullmatch(code):
        return (_TEXT, _RESPONSE if found[2] else _REQUEST, names[found[3]], names[found[4]], names[found[1]])
    if found := _EITHER_OF.fullmatch(code):
        return (_EITHER, _OWNERS[found[2]], found[3], found[4], names[found[1]])
    if found := _HEADER_OR_ATTRIBUTE.fullmatch(code):
        return (_HEADER_OR, names[found[2]], found[3], names[found[1]])
    if found := _SINCE_START.fullmatch(code):
        return (_DURATION, names[found[1]])
    if found := _START.fullmatch(code):
        return (_TIME, names[found[1]], names[found[2]])
    return None


def _python(codes: list[str], names: dict[str, Any]) -> tuple[Any, ...]:
    return (_CALL, compiled(f"    return {joined(codes)}\n", {**names, "NO_HEADERS": NO_HEADERS}))
