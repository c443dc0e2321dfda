"""The code that writes one value of a JSON line."""

from __future__ import annotations

from collections.abc import Callable
from json import encoder
from typing import Any, Final

from pyproxy.config.format import Format
from pyproxy.telemetry.formatter_expression import Expression, Kind, Scope, Unset
from pyproxy.telemetry.formatter_memo import Memo
from pyproxy.telemetry.formatter_metadata import to_json, to_text
from pyproxy.telemetry.formatter_operators import find_expression
from pyproxy.telemetry.formatter_source import FAST_DECODE, Style, code_of, joined

quote: Callable[[str], str] = encoder.encode_basestring

_INNER: Final = "'"
"""Quotes of an f-string inside an f-string."""


class ValueWriter:
    """Writes the code of formats. `alone` is what an unset operator is by itself, `among` what it is in other text."""

    def __init__(self, alone: str | None, among: str) -> None:
        self.scope = Scope()
        self._unset = alone
        self._memos: dict[Expression, str] = {}
        bind = self.scope.bind
        self._quote = bind(quote)
        self._alone = Style(bind(alone), f"{self._quote}({{}})", f"{bind(to_json)}({{}})")
        self._among = Style(bind(among), "{}", f"{bind(to_text)}({{}})")

    def find(self, fmt: Format) -> list[str | Expression]:
        bind = self.scope.bind
        return [bind(part) if isinstance(part, str) else find_expression(part, self.scope) for part in fmt.parts]

    def code(self, found: list[str | Expression], decode: str) -> str:
        if len(found) == 1 and isinstance(found[0], Expression):
            return self._lone(found[0], decode)
        inner = [one if isinstance(one, str) else code_of(one, self._among, decode) for one in found]
        return f"{self._quote}({joined(inner, quote=_INNER)})"

    def _lone(self, one: Expression, decode: str) -> str:
        if one.json and one.length is None:
            return one.json
        if one.key and one.length is None and (decode == FAST_DECODE or one.kind is Kind.TEXT):
            if one not in self._memos:
                self._memos[one] = self.scope.bind(Memo(_quoting(one, self._unset)))
            return f"{self._memos[one]}[{one.key}]"
        return code_of(one, self._alone, decode)


def _quoting(one: Expression, unset: str | None) -> Callable[[Any], str | None]:
    """A function from the key of an expression to the JSON of its value. UnicodeDecodeError as `FAST_DECODE`."""
    make = one.make

    def quoted(key: Any) -> str | None:
        value = key if make is None else make(key)
        if value is None or (not value and one.unset is Unset.EMPTY):
            return unset
        return quote(value.decode() if one.kind is Kind.BYTES else value)

    return quoted
