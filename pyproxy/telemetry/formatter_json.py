"""JSON lines from a parsed `json_format`.

Keys come in the order of their bytes, as Envoy writes them. An operator that is a whole value keeps its type: numbers
stay numbers, metadata stays structured, unset is null.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Final

from pyproxy.config.format import Format, JsonArray, JsonFormat, JsonObject, JsonValue
from pyproxy.http.message import Request, Response
from pyproxy.telemetry.formatter_expression import Expression, Scope
from pyproxy.telemetry.formatter_json_value import ValueWriter, quote
from pyproxy.telemetry.formatter_metadata import to_json
from pyproxy.telemetry.formatter_source import FAST_DECODE, Formatter, build_function, joined
from pyproxy.telemetry.formatter_steps import in_steps

Piece = Callable[[Request, Response | None], object]
"""Gives the JSON of one value, or None where it is left out."""


def build_json(fmt: JsonFormat) -> Formatter:
    """A function that gives one object and a newline."""
    return _build_sparse(fmt.root) if fmt.omit_empty else _build_full(fmt.root)


def json_text(value: bytes) -> str:
    """Bytes as text for a JSON string. What is not UTF-8 is taken for Latin-1, and marked: see `_escape`."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("ascii", "surrogateescape")


_MARKED: Final = re.compile("[\udc80-\udcff]")


def _escape(line: str | None) -> str | None:
    """Write marked bytes as `\\u00e9`, as Envoy does, while other text stays as it is."""
    return line and _MARKED.sub(lambda byte: f"\\u{ord(byte[0]) - 0xDC00:04x}", line)


def _build_function(scope: Scope, write: Callable[[str], str]) -> Formatter:
    fast, escape = write(FAST_DECODE), scope.bind(_escape)

    def written(decode: str) -> str:
        code = write(decode)
        return code if code == fast else f"{escape}({code})"

    return build_function(scope, written, json_text)


def _sorted(items: tuple[tuple[str, JsonValue], ...]) -> list[tuple[str, JsonValue]]:
    return sorted(items, key=lambda item: item[0].encode())


def _constant(value: JsonValue) -> str | None:
    """The JSON of a value that no request changes; None for others."""
    if isinstance(value, JsonObject | JsonArray):
        return None
    if not isinstance(value, Format):
        return to_json(value)
    literals = [part for part in value.parts if isinstance(part, str)]
    return quote("".join(literals)) if len(literals) == len(value.parts) else None


# With every key: the shape is known, so a line is one f-string.


def _build_full(root: JsonObject) -> Formatter:
    writer = ValueWriter("null", "-")
    pieces: list[str | list[str | Expression]] = []
    _collect(root, writer, pieces)
    pieces.append("\n")
    before, values = _grouped(pieces)

    def codes(decode: str) -> list[str]:
        return [
            writer.literal(before),
            *itertools.chain.from_iterable([writer.codes(found, after, decode) for found, after in values]),
        ]

    whole = _build_function(writer.scope, lambda decode: joined(codes(decode)))
    return in_steps(codes(FAST_DECODE), writer.scope.names, whole)


def _grouped(pieces: list[str | list[str | Expression]]) -> tuple[str, list[tuple[list[str | Expression], str]]]:
    """The text before the first value, and each value with the text after it."""
    before, values = "", []
    for piece in pieces:
        if not isinstance(piece, str):
            values.append((piece, ""))
        elif values:
            values[-1] = (values[-1][0], values[-1][1] + piece)
        else:
            before += piece
    return before, values


def _collect(value: JsonValue, writer: ValueWriter, pieces: list[str | list[str | Expression]]) -> None:
    """Literal JSON and expressions, in order."""
    constant = _constant(value)
    if constant is not None:
        pieces.append(constant)
    elif isinstance(value, Format):
        pieces.append(writer.find(value))
    elif isinstance(value, JsonObject):
        pieces.append("{")
        for number, (key, item) in enumerate(_sorted(value.items)):
            pieces.append(f"{',' if number else ''}{quote(key)}:")
            _collect(item, writer, pieces)
        pieces.append("}")
    elif isinstance(value, JsonArray):
        pieces.append("[")
        for number, item in enumerate(value.items):
            if number:
                pieces.append(",")
            _collect(item, writer, pieces)
        pieces.append("]")


# Without what is unset: the shape changes, so a line is put together piece by piece.


def _build_sparse(root: JsonObject) -> Formatter:
    piece = _object_piece(root)

    def line(request: Request, response: Response | None) -> str:
        return f"{piece(request, response) or '{}'}\n"

    return line


def _piece(value: JsonValue) -> Piece:
    if isinstance(value, JsonObject):
        return _object_piece(value)
    if isinstance(value, JsonArray):
        return _array_piece(value)
    constant = None if value is None else _constant(value)
    if not isinstance(value, Format) or constant is not None:
        return lambda request, response: constant
    writer = ValueWriter(None, "")
    found = writer.find(value)
    return _build_function(writer.scope, lambda decode: writer.code(found, decode))


def _object_piece(value: JsonObject) -> Piece:
    members = [(f"{quote(key)}:", _piece(item)) for key, item in _sorted(value.items)]

    def members_set(request: Request, response: Response | None) -> str | None:
        parts = []
        for key, piece in members:
            found = piece(request, response)
            if found is not None:
                parts.append(f"{key}{found}")
        return f"{{{','.join(parts)}}}" if parts else None

    return members_set


def _array_piece(value: JsonArray) -> Piece:
    pieces = [_piece(item) for item in value.items]

    def items_set(request: Request, response: Response | None) -> str:
        found = [piece(request, response) for piece in pieces]
        return f"[{','.join([str(one) for one in found if one is not None])}]"

    return items_set
