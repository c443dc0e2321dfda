"""What a command operator becomes: a Python expression over one request.

A format is compiled to one Python function (`formatter_source`), because a call per operator would cost more than
what the operators do. Expressions are written in this package only; whatever comes from a configuration is bound to a
name in the `Scope` and never becomes source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from pyproxy.http.message import Request, Response

Getter = Callable[[Request, Response | None], Any]


class Kind(Enum):
    """What the expression gives where there is a value."""

    BYTES = "bytes"
    TEXT = "text"
    NUMBER = "number"
    VALUE = "value"
    """Anything that JSON can say, as metadata is."""


class Unset(Enum):
    """What the expression gives where there is none."""

    NEVER = "never"
    EMPTY = "empty"
    """Anything that is false."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Expression:
    """`code` may use `LOCALS` and the names of the scope. `length` is the most bytes or characters to give."""

    kind: Kind
    code: str
    unset: Unset = Unset.NEVER
    length: int | None = None
    key: str = ""
    """Where the same values come again and again: code that gives what the value is made of, and of that alone."""
    make: Callable[[Any], Any] | None = None
    """Makes the value of its key; None where the key is the value."""
    json: str = ""
    """Code that gives the value as JSON, where that is less work than to quote it."""

    def cut(self, length: int | None) -> Expression:
        return self if length is None else replace(self, length=length)


LOCALS: Final[dict[str, str]] = {
    "info": "request.info",
    "connection": "info.connection",
    "upstream": "info.upstream",
    "headers": "request.headers",
    "index": "headers.index",
    "first": "index.get if len(index) == len(headers.pairs) else headers.get",
    "answer": "NO_HEADERS if response is None else response.headers",
    "answer_index": "answer.index",
    "response_first": "answer_index.get if len(answer_index) == len(answer.pairs) else answer.get",
}
"""Locals of a compiled function, in the order in which they are made; only those that are used."""


class Scope:
    """The names that the expressions of one function refer to."""

    __slots__ = ("names",)

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}

    def bind(self, value: Any) -> str:
        name = f"c{len(self.names)}"
        self.names[name] = value
        return name


def text(code: str) -> Expression:
    """Text that is empty where there is none."""
    return Expression(Kind.TEXT, code, Unset.EMPTY)


def repeated(code: str, kind: Kind = Kind.TEXT, unset: Unset = Unset.EMPTY) -> Expression:
    """One of a few values, as a rule: what it is in JSON is worth remembering."""
    return Expression(kind, code, unset, key=code)


def made(scope: Scope, key: str, make: Callable[[Any], str], unset: Unset = Unset.EMPTY, code: str = "") -> Expression:
    """The same, where the value is made of something else. `code` if there is quicker code than to call `make`."""
    return Expression(Kind.TEXT, code or f"{scope.bind(make)}({key})", unset, key=key, make=make)


def number(code: str) -> Expression:
    return Expression(Kind.NUMBER, code)


def constant(scope: Scope, value: str) -> Expression:
    return Expression(Kind.TEXT, scope.bind(value))


def nothing() -> Expression:
    """An operator that never has a value here."""
    return Expression(Kind.TEXT, "None", Unset.NONE)


def call(scope: Scope, getter: Getter, kind: Kind = Kind.TEXT, unset: Unset = Unset.NONE) -> Expression:
    """An operator for which an expression would be too long."""
    return Expression(kind, f"{scope.bind(getter)}(request, response)", unset)
