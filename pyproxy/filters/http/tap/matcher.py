"""Whether an exchange is wanted, as far as that is known: a tree of rules over parts that come one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from pyproxy.config.tap import AndRule, AnyRule, BodyRule, HeadersRule, NotRule, OrRule, TapPart, TapRule
from pyproxy.http.message import Request
from pyproxy.http.predicates import RequestPredicate, all_of, build_header_predicate

Known = list[bool | None]
"""For each leaf of the tree whether it fits; None while its part has not come."""
Evaluate = Callable[[Known], bool | None]


class TapMatcher:
    """Built once for a configuration."""

    def __init__(self, rule: TapRule) -> None:
        self.headers: list[tuple[TapPart, int, RequestPredicate | None]] = []
        """(part, number of the leaf, what has to fit)"""
        self.bodies: list[tuple[TapPart, int, BodyRule]] = []
        self._leaves = 0
        self.evaluate: Evaluate = self._build(rule)

    def begin(self) -> Known:
        """For one exchange."""
        return [None] * self._leaves

    def _build(self, rule: TapRule) -> Evaluate:
        match rule:
            case AnyRule():
                return lambda known: True
            case NotRule(inner):
                return _negated(self._build(inner))
            case AndRule(rules):
                return _all_of([self._build(one) for one in rules])
            case OrRule(rules):
                return _any_of([self._build(one) for one in rules])
            case HeadersRule(part, matches):
                number = self._leaf()
                self.headers.append((part, number, all_of(build_header_predicate(one) for one in matches)))
                return lambda known: known[number]
            case BodyRule(part):
                number = self._leaf()
                self.bodies.append((part, number, rule))
                return lambda known: known[number]
            case _:
                assert_never(rule)

    def _leaf(self) -> int:
        self._leaves += 1
        return self._leaves - 1

    def look(self, part: TapPart, seen: Request, known: Known) -> None:
        """Headers or trailers have come; `seen` has them as its headers."""
        for wanted, number, fits in self.headers:
            if wanted is part:
                known[number] = fits is None or fits(seen)


class PatternSearch:
    """Looks for all patterns of a rule in a body that comes in pieces."""

    __slots__ = ("_keep", "_left", "_missing", "_tail")

    def __init__(self, rule: BodyRule) -> None:
        self._missing = list(rule.patterns)
        self._keep = max((len(pattern) for pattern in rule.patterns), default=1) - 1
        self._left = rule.limit or -1
        self._tail = b""

    @property
    def found(self) -> bool:
        return not self._missing

    def feed(self, chunk: bytes) -> None:
        if not self._missing or not self._left:
            return
        if self._left > 0:
            chunk = chunk[: self._left]
            self._left -= len(chunk)
        text = self._tail + chunk
        self._missing = [pattern for pattern in self._missing if pattern not in text]
        self._tail = text[-self._keep :] if self._keep else b""


def _negated(inner: Evaluate) -> Evaluate:
    def evaluate(known: Known) -> bool | None:
        found = inner(known)
        return None if found is None else not found

    return evaluate


def _all_of(parts: list[Evaluate]) -> Evaluate:
    def evaluate(known: Known) -> bool | None:
        found = [part(known) for part in parts]
        return False if False in found else None if None in found else True

    return evaluate


def _any_of(parts: list[Evaluate]) -> Evaluate:
    def evaluate(known: Known) -> bool | None:
        found = [part(known) for part in parts]
        return True if True in found else None if None in found else False

    return evaluate
