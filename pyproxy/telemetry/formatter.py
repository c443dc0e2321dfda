"""Functions from one request to a line of text or to header bytes, built once from a parsed format.

Used by access logs, header values and local replies. A built function parses nothing and looks nothing up by name.
A text may hold lone surrogates for bytes that are not UTF-8: write it with the error handler `surrogateescape`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from pyproxy.config.format import Format, JsonFormat, Operator
from pyproxy.http.message import Request, Response
from pyproxy.telemetry.formatter_expression import Scope
from pyproxy.telemetry.formatter_json import build_json
from pyproxy.telemetry.formatter_metadata import to_text
from pyproxy.telemetry.formatter_operators import find_expression
from pyproxy.telemetry.formatter_source import Formatter, Style, build_function, code_of, joined

_BREAKS: Final = b"\r\n\0"

BytesFormatter = Callable[[Request, Response | None], bytes]


def build_formatter(fmt: Format) -> Formatter:
    """A function that gives the text. An unset operator is `-`, or nothing if the format says so."""
    return _build_text(fmt.parts, "" if fmt.omit_empty else "-")


def build_json_formatter(fmt: JsonFormat) -> Formatter:
    """A function that gives one JSON object and a newline. An unset operator is null, or left out."""
    return build_json(fmt)


def build_bytes_formatter(fmt: Format) -> BytesFormatter:
    """A function that gives a header value. An unset operator is nothing; line breaks and NUL are left out, because
    some operators decode what a client sent and the value is written as it is (RFC 9110 5.5)."""
    constant = literal_bytes(fmt)
    if constant is not None:
        return lambda request, response: constant
    text = _build_text(fmt.parts, "")
    return lambda request, response: text(request, response).encode("utf-8", "surrogateescape").translate(None, _BREAKS)


def literal_bytes(fmt: Format) -> bytes | None:
    """The value of a format without operators; None if it has some."""
    literals = [part for part in fmt.parts if isinstance(part, str)]
    return "".join(literals).encode() if len(literals) == len(fmt.parts) else None


@lru_cache(maxsize=1024)
def _build_text(parts: tuple[str | Operator, ...], blank: str) -> Formatter:
    # Cached: thousands of routes add the same header values, and compiling takes a few hundred microseconds.
    scope = Scope()
    style = Style(unset=scope.bind(blank), text="{}", value=f"{scope.bind(to_text)}({{}})")
    found = [scope.bind(part) if isinstance(part, str) else find_expression(part, scope) for part in parts]

    def write(decode: str) -> str:
        return joined([one if isinstance(one, str) else code_of(one, style, decode) for one in found])

    return build_function(scope, write, log_text)


def log_text(value: bytes) -> str:
    """Bytes as text that becomes the same bytes again when it is written with `surrogateescape`."""
    return value.decode("utf-8", "surrogateescape")
