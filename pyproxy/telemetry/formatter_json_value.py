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
_LONGEST_AFTER: Final = 64


class ValueWriter:
    """Writes the code of formats. `alone` is what an unset operator is by itself, `among` what it is in other text."""

    def __init__(self, alone: str | None, among: str) -> None:
        self.scope = Scope()
        self._unset = alone
        self._memos: dict[tuple[Expression, str], str] = {}
        self._literals: dict[str, str] = {}
        bind = self.scope.bind
        self._quote = bind(quote)
        self._alone = Style(bind(alone), f"{self._quote}({{}})", f"{bind(to_json)}({{}})")
        self._among = Style(bind(among), "{}", f"{bind(to_text)}({{}})")

    def find(self, fmt: Format) -> list[str | Expression]:
        bind = self.scope.bind
        return [bind(part) if isinstance(part, str) else find_expression(part, self.scope) for part in fmt.parts]

    def code(self, found: list[str | Expression], decode: str) -> str:
        if len(found) == 1 and isinstance(found[0], Expression):
            one = found[0]
            if one.json and one.length is None:
                return one.json
            return self._remembered(one, decode, "") or code_of(one, self._alone, decode)
        inner = [one if isinstance(one, str) else code_of(one, self._among, decode) for one in found]
        return f"{self._quote}({joined(inner, quote=_INNER)})"

    def codes(self, found: list[str | Expression], after: str, decode: str) -> list[str]:
        """A value and the literal text after it: one look-up gives both where the value is remembered."""
        if len(found) == 1 and isinstance(found[0], Expression) and len(after) <= _LONGEST_AFTER:
            code = self._remembered(found[0], decode, after)
            if code:
                return [code]
        return [self.code(found, decode), self.literal(after)]

    def literal(self, value: str) -> str:
        name = self._literals.get(value)
        if name is None:
            name = self._literals[value] = self.scope.bind(value)
        return name

    def _remembered(self, one: Expression, decode: str, after: str) -> str:
        """The code of a look-up; empty where the value has to be made each time."""
        if not one.key or one.length is not None or (decode != FAST_DECODE and one.kind is not Kind.TEXT):
            return ""
        name = self._memos.get((one, after))
        if name is None:
            name = self._memos[one, after] = self.scope.bind(Memo(_quoting(one, self._unset, after)))
        return f"{name}[{one.key}]"


def _quoting(one: Expression, unset: str | None, after: str) -> Callable[[Any], str | None]:
    """A function from the key of an expression to the JSON of its value. UnicodeDecodeError as `FAST_DECODE`."""
    make = one.make

    def quoted(key: Any) -> str | None:
        value = key if make is None else make(key)
        if value is None or (not value and one.unset is Unset.EMPTY):
            return unset and unset + after
        return quote(value.decode() if one.kind is Kind.BYTES else value) + after

    return quoted
