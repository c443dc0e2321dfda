"""`--log-format`: a pattern in the language of Envoy's application log, compiled once to a list of functions.

The language is spdlog's (`%Y-%m-%d %T.%e`, `%-8l`, `%4!n`) with Envoy's own `%_` (message with escaped line ends) and
`%j` (message as the inside of a JSON string). Not on the request path.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pyproxy.server.log_components import TRACE, component_of

DEFAULT_PATTERN = "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v"

Part = Callable[[logging.LogRecord], str]

_DIRECTIVE = re.compile(r"%(?:(?P<align>[-=]?)(?P<width>\d+)(?P<cut>!?))?(?P<flag>.)", re.DOTALL)
_LEVEL_NAMES = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
    (logging.DEBUG, "debug"),
    (TRACE, "trace"),
)
_PACKAGE_PARENT = f"{Path(__file__).resolve().parents[2]}{os.sep}"
_TRACEBACKS = logging.Formatter()


def compile_pattern(pattern: str) -> Part:
    """A function that renders a record; a directive that is not known stays as it is written (as in spdlog)."""
    parts: list[Part] = []
    done = 0
    for found in _DIRECTIVE.finditer(pattern):
        parts.append(_literal(pattern[done : found.start()]))
        parts.append(_directive(found))
        done = found.end()
    parts.append(_literal(pattern[done:]))
    return lambda record: "".join([part(record) for part in parts])


def compile_json(fields: Mapping[str, str]) -> Part:
    """A function that renders a record as one JSON object; each field is a pattern."""
    compiled = {name: compile_pattern(pattern) for name, pattern in fields.items()}
    return lambda record: json.dumps({name: part(record) for name, part in compiled.items()}, ensure_ascii=False)


def level_name(record: logging.LogRecord) -> str:
    """Envoy's word for the level of a record."""
    return next((name for number, name in _LEVEL_NAMES if record.levelno >= number), "trace")


def _literal(text: str) -> Part:
    return lambda record: text


def _directive(found: re.Match[str]) -> Part:
    flag = found["flag"]
    if flag == "%":
        return _literal("%")
    part = _PARTS.get(flag)
    if part is None:
        return _literal(found[0])
    return part if found["width"] is None else _padded(part, found["align"], int(found["width"]), bool(found["cut"]))


def _padded(part: Part, align: str, width: int, cut: bool) -> Part:
    sign = {"": ">", "-": "<", "=": "^"}[align]
    layout = f"{sign}{width}.{width}" if cut else f"{sign}{width}"
    return lambda record: format(part(record), layout)


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info and record.exc_info[0] is not None:
        text = f"{text}\n{_TRACEBACKS.formatException(record.exc_info)}"
    return text


def _strftime(directive: str) -> Part:
    return lambda record: time.strftime(directive, time.localtime(record.created))


def _fraction(digits: int) -> Part:
    return lambda record: f"{record.created % 1:.9f}"[2 : 2 + digits]


def _zone(record: logging.LogRecord) -> str:
    offset = time.strftime("%z", time.localtime(record.created))
    return f"{offset[:3]}:{offset[3:]}"


def _source(record: logging.LogRecord) -> str:
    return record.pathname.removeprefix(_PACKAGE_PARENT)


_PARTS: dict[str, Part] = {
    "a": _strftime("%a"),
    "A": _strftime("%A"),
    "b": _strftime("%b"),
    "h": _strftime("%b"),
    "B": _strftime("%B"),
    "c": _strftime("%a %b %e %H:%M:%S %Y"),
    "C": _strftime("%y"),
    "Y": _strftime("%Y"),
    "D": _strftime("%m/%d/%y"),
    "x": _strftime("%m/%d/%y"),
    "m": _strftime("%m"),
    "d": _strftime("%d"),
    "H": _strftime("%H"),
    "I": _strftime("%I"),
    "M": _strftime("%M"),
    "S": _strftime("%S"),
    "p": _strftime("%p"),
    "r": _strftime("%I:%M:%S %p"),
    "R": _strftime("%H:%M"),
    "T": _strftime("%H:%M:%S"),
    "X": _strftime("%H:%M:%S"),
    "e": _fraction(3),
    "f": _fraction(6),
    "F": _fraction(9),
    "E": lambda record: str(int(record.created)),
    "z": _zone,
    "v": _message,
    "_": lambda record: _message(record).replace("\n", "\\n"),
    "j": lambda record: json.dumps(_message(record), ensure_ascii=False)[1:-1],
    "t": lambda record: str(threading.get_native_id()),
    "P": lambda record: str(os.getpid()),
    "n": lambda record: component_of(record.name),
    "l": level_name,
    "L": lambda record: level_name(record)[0].upper(),
    "g": _source,
    "s": lambda record: record.filename,
    "#": lambda record: str(record.lineno),
    "@": lambda record: f"{_source(record)}:{record.lineno}",
    "!": lambda record: record.funcName or "",
    "^": _literal(""),
    "$": _literal(""),
}
