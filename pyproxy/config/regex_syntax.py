"""Reads regular expressions as RE2 does: pattern -> tree. What RE2 refuses is refused here, with its reason.

Envoy's regexes are RE2's; Python's `re` reads many of them differently (`$`, `\\z`, `{,3}`, `\\d`, possessive
quantifiers, look-around). So patterns are never given to `re` as they come: `config.regex` writes them anew from
this tree. Syntax: https://github.com/google/re2/wiki/Syntax; checked against Envoy 1.40.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pyproxy.config import regex_classes
from pyproxy.config.regex_classes import ANY, ANY_BUT_NEWLINE, Ranges, fold, negate, union

MAX_REPEAT: Final = 1000
"""RE2 repeats nothing more often than this, nested repetitions multiplied."""
MAX_DEPTH: Final = 60
MAX_LEAVES: Final = 2000
"""Bound on a pattern with all its repetitions written out. Envoy's default (100 instructions) is far below."""


class BadRegex(Exception):
    """A pattern that RE2 would not take, or that is beyond what we support."""

    def __init__(self, reason: str, expected: str = "") -> None:
        super().__init__(reason)
        self.expected = expected


class Where(Enum):
    """Places that match no character."""

    TEXT_START = "\\A"
    TEXT_END = "\\z"
    LINE_START = "^"
    LINE_END = "$"
    WORD_EDGE = "\\b"
    NO_WORD_EDGE = "\\B"


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of some."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class AnyByte:
    """`\\C`: one byte, even of a longer character."""


@dataclass(frozen=True, slots=True)
class Place:
    where: Where


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    branches: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`most` None is without end."""

    item: Node
    least: int
    most: int | None
    greedy: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A capturing group; `index` counts from 1."""

    item: Node
    index: int


Node = Chars | AnyByte | Place | Sequence | Choice | Repeat | Group

EMPTY: Final = Sequence(())

_ONE_CHAR: Final = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}
_PLACES: Final = {"A": Where.TEXT_START, "z": Where.TEXT_END, "b": Where.WORD_EDGE, "B": Where.NO_WORD_EDGE}
_OCTAL: Final = "01234567"
_HEX: Final = "0123456789abcdefABCDEF"
_DIGITS: Final = "0123456789"
_NAME: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"


@dataclass(slots=True)
class _Flags:
    """`i`, `m`, `s` and `U` as they hold at one place of the pattern."""

    fold_case: bool = False
    multi_line: bool = False
    dot_all: bool = False
    ungreedy: bool = False

    def copy(self) -> _Flags:
        return _Flags(self.fold_case, self.multi_line, self.dot_all, self.ungreedy)


def parse(pattern: str) -> tuple[Node, int]:
    """The tree of a pattern and the number of its groups. Raises BadRegex."""
    parser = _Parser(pattern)
    tree = parser.choice(_Flags(), 0)
    if parser.at < len(pattern):
        raise BadRegex(f"unexpected ): {pattern}")
    if "{" in pattern or len(pattern) > MAX_LEAVES:
        if _leaves(tree) > MAX_LEAVES:
            raise BadRegex("it is too large once its repetitions are written out", f"at most {MAX_LEAVES} characters")
        _check_repeats(tree, MAX_REPEAT)
    return tree, parser.groups


class _Parser:
    """Recursive descent over the pattern; `at` is the next character."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.groups = 0

    def choice(self, flags: _Flags, depth: int) -> Node:
        """`a|b|c`, up to the closing parenthesis or the end."""
        if depth > MAX_DEPTH:
            raise BadRegex("it is nested too deeply", f"at most {MAX_DEPTH} levels")
        branches = [self._sequence(flags, depth)]
        while self._take("|"):
            branches.append(self._sequence(flags, depth))
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def _sequence(self, flags: _Flags, depth: int) -> Node:
        items: list[Node] = []
        after_operator = -1  # where the last repetition operator began
        pattern = self.pattern
        while self.at < len(pattern) and pattern[self.at] not in "|)":
            start = self.at
            repetition = self._repetition(flags)
            if repetition is None:
                found = self._item(flags, depth)
                if found is not None:
                    items.extend(found)
                    after_operator = -1
                continue
            operator = pattern[start : self.at]
            if after_operator >= 0:
                raise BadRegex(f"bad repetition operator: {pattern[after_operator : self.at]}")
            if not items:
                raise BadRegex(f"no argument for repetition operator: {operator}")
            items[-1] = _repeat(items[-1], *repetition)
            after_operator = start
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    # Repetition

    def _repetition(self, flags: _Flags) -> tuple[int, int | None, bool] | None:
        """`*`, `+`, `?`, `{n}`, `{n,}`, `{n,m}`, each with an optional `?`; None where there is none."""
        start = self.at
        sign = self.pattern[start]
        limits: tuple[int, int | None] | None
        if sign in "*+?":
            limits = {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
            self.at += 1
        elif sign == "{":
            limits = self._counts()
        else:
            return None
        if limits is None:
            return None
        greedy = not self._take("?")
        least, most = limits
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            raise BadRegex(f"invalid repetition size: {self.pattern[start : self.at]}")
        return least, most, greedy is not flags.ungreedy

    def _counts(self) -> tuple[int, int | None] | None:
        """`{n}`, `{n,}` or `{n,m}`; anything else in braces is plain text."""
        end = self.pattern.find("}", self.at)
        body = self.pattern[self.at + 1 : end] if end > 0 else ""
        low, comma, high = body.partition(",")
        if not low or low.strip(_DIGITS) or high.strip(_DIGITS):
            return None
        self.at = end + 1
        least = int(low[:9])
        if not comma:
            return least, least
        return least, int(high[:9]) if high else None

    # Items

    def _item(self, flags: _Flags, depth: int) -> list[Node] | None:
        """What stands at this place: one node, or several for `\\Q..\\E`; None for a change of flags."""
        sign = self.pattern[self.at]
        if sign == "(":
            return self._group(flags, depth)
        self.at += 1
        match sign:
            case "[":
                return [self._bracket(flags)]
            case ".":
                return [Chars(ANY if flags.dot_all else ANY_BUT_NEWLINE)]
            case "^":
                return [Place(Where.LINE_START if flags.multi_line else Where.TEXT_START)]
            case "$":
                return [Place(Where.LINE_END if flags.multi_line else Where.TEXT_END)]
            case "\\":
                return self._escape(flags)
            case _:
                return [_literal(ord(sign), flags)]

    def _group(self, flags: _Flags, depth: int) -> list[Node] | None:
        start = self.at
        self.at += 1
        if not self._take("?"):
            return [self._captured(start, flags, depth)]
        if self.pattern.startswith(("P<", "<"), self.at) and not self.pattern.startswith(("<=", "<!"), self.at):
            self._group_name(start)
            return [self._captured(start, flags, depth)]
        changed = flags.copy()
        if self._flag_letters(start, changed) == ")":
            flags.fold_case, flags.multi_line = changed.fold_case, changed.multi_line
            flags.dot_all, flags.ungreedy = changed.dot_all, changed.ungreedy
            return None
        item = self.choice(changed, depth + 1)
        self._close(start)
        return [item if isinstance(item, Chars | Repeat) else Sequence((item,))]

    def _captured(self, start: int, flags: _Flags, depth: int) -> Node:
        self.groups += 1
        index = self.groups
        item = self.choice(flags.copy(), depth + 1)
        self._close(start)
        return Group(item, index)

    def _close(self, start: int) -> None:
        if not self._take(")"):
            raise BadRegex(f"missing ): {self.pattern[start:]}")

    def _group_name(self, start: int) -> None:
        begin = self.pattern.index("<", self.at) + 1
        end = self.pattern.find(">", begin)
        name = self.pattern[begin:end] if end > 0 else ""
        if not name or name.strip(_NAME):
            raise BadRegex(f"invalid named capture group: {self.pattern[start : end + 1 if end > 0 else None]}")
        self.at = end + 1

    def _flag_letters(self, start: int, flags: _Flags) -> str:
        """Read `i-s:` or `i-s)` and say which of the two ended it."""
        value, seen = True, ""
        while self.at < len(self.pattern):
            sign = self.pattern[self.at]
            self.at += 1
            if sign in ":)" and not (seen and seen[-1] == "-"):
                return sign
            if sign == "-" and "-" not in seen:
                value = False
            elif sign == "i":
                flags.fold_case = value
            elif sign == "m":
                flags.multi_line = value
            elif sign == "s":
                flags.dot_all = value
            elif sign == "U":
                flags.ungreedy = value
            else:
                break
            seen += sign
        looks = self.pattern[start : self.at]
        hint = "a pattern without look-around and back-references" if looks[2:3] in ("=", "!", "<", "P") else ""
        raise BadRegex(f"invalid perl operator: {looks}", hint)

    # Escapes and classes

    def _escape(self, flags: _Flags) -> list[Node]:
        sign = self._next_after_backslash()
        if sign in _PLACES:
            return [Place(_PLACES[sign])]
        if sign == "C":
            return [AnyByte()]
        if sign == "Q":
            end = self.pattern.find("\\E", self.at)
            text = self.pattern[self.at : end if end >= 0 else None]
            self.at = end + 2 if end >= 0 else len(self.pattern)
            return [_literal(ord(one), flags) for one in text]
        ranges = self._class_escape(sign, flags)
        if ranges is not None:
            return [Chars(ranges)]
        return [_literal(self._char_escape(sign), flags)]

    def _next_after_backslash(self) -> str:
        if self.at >= len(self.pattern):
            raise BadRegex("trailing \\")
        sign = self.pattern[self.at]
        self.at += 1
        return sign

    def _class_escape(self, sign: str, flags: _Flags) -> Ranges | None:
        """`\\d`, `\\W`, `\\pN`, `\\p{Lu}`: None where the sign is none of these."""
        perl = regex_classes.PERL.get(sign.lower()) if sign in "dDsSwW" else None
        if perl is not None:
            return _class(perl, flags, inverted=sign.isupper())
        if sign not in "pP":
            return None
        start = self.at - 2
        if self._take("{"):
            end = self.pattern.find("}", self.at)
            name = self.pattern[self.at : end] if end > 0 else ""
            self.at = end + 1 if end > 0 else len(self.pattern)
        else:
            name = self.pattern[self.at : self.at + 1]
            self.at += 1
        ranges = regex_classes.unicode_class(name.removeprefix("^"))
        if ranges is None:
            raise BadRegex(
                f"invalid character class range: {self.pattern[start : self.at]}",
                "a general category such as L, Lu or Nd (scripts such as Greek are not supported)",
            )
        return _class(ranges, flags, inverted=name.startswith("^") != (sign == "P"))

    def _char_escape(self, sign: str) -> int:
        if sign in _ONE_CHAR:
            return _ONE_CHAR[sign]
        start = self.at - 2
        if sign == "0" or (sign in _OCTAL and self.pattern[self.at : self.at + 1] in (*_OCTAL,)):
            digits = sign
            while len(digits) < 3 and self.at < len(self.pattern) and self.pattern[self.at] in _OCTAL:
                digits += self.pattern[self.at]
                self.at += 1
            if int(digits, 8) <= 0xFF:
                return int(digits, 8)
            raise BadRegex(f"invalid escape sequence: \\{digits}")
        if sign == "x":
            return self._hexadecimal(start)
        if sign.isascii() and not sign.isalnum():
            return ord(sign)
        hint = "a pattern without back-references" if sign in _DIGITS else ""
        raise BadRegex(f"invalid escape sequence: {self.pattern[start : self.at]}", hint)

    def _hexadecimal(self, start: int) -> int:
        if self._take("{"):
            end = self.pattern.find("}", self.at)
            digits = self.pattern[self.at : end] if end > 0 else ""
            self.at = end + 1 if end > 0 else len(self.pattern)
        else:
            digits = self.pattern[self.at : self.at + 2]
            self.at += 2
            if len(digits) < 2:
                digits = ""
        value = int(digits, 16) if digits and not digits.strip(_HEX) else -1
        if not 0 <= value <= 0x10FFFF or 0xD800 <= value <= 0xDFFF:
            raise BadRegex(f"invalid escape sequence: {self.pattern[start : self.at]}")
        return value

    def _bracket(self, flags: _Flags) -> Node:
        """`[...]`; the opening bracket is read."""
        start = self.at - 1
        inverted = self._take("^")
        ranges: Ranges = ()
        first = True
        while True:
            if self.at >= len(self.pattern):
                raise BadRegex(f"missing ]: {self.pattern[start:]}")
            if not first and self._take("]"):
                break
            ranges = union(ranges, self._bracket_part(start, flags))
            first = False
        return Chars(negate(ranges) if inverted else ranges)

    def _bracket_part(self, start: int, flags: _Flags) -> Ranges:
        pattern = self.pattern
        if pattern.startswith("[:", self.at):
            named = self._posix(flags)
            if named is not None:
                return named
        begin = self.at
        low = self._bracket_char(flags)
        if not isinstance(low, int):
            return low
        if not pattern.startswith("-", self.at) or pattern.startswith("-]", self.at) or self.at + 1 >= len(pattern):
            return _class(((low, low),), flags)
        self.at += 1
        high = self._bracket_end(start)
        if high < low:
            raise BadRegex(f"invalid character class range: {pattern[begin : self.at]}")
        return _class(((low, high),), flags)

    def _bracket_char(self, flags: _Flags) -> int | Ranges:
        sign = self.pattern[self.at]
        self.at += 1
        if sign != "\\":
            return ord(sign)
        sign = self._next_after_backslash()
        ranges = self._class_escape(sign, flags)
        return self._char_escape(sign) if ranges is None else ranges

    def _bracket_end(self, start: int) -> int:
        """The last character of a range, which no class can be."""
        if self.at >= len(self.pattern):
            raise BadRegex(f"missing ]: {self.pattern[start:]}")
        sign = self.pattern[self.at]
        self.at += 1
        return self._char_escape(self._next_after_backslash()) if sign == "\\" else ord(sign)

    def _posix(self, flags: _Flags) -> Ranges | None:
        """`[:alpha:]` inside brackets; None where it is not written so."""
        end = self.pattern.find(":]", self.at + 2)
        if end < 0:
            return None
        name = self.pattern[self.at + 2 : end]
        ranges = regex_classes.POSIX.get(name.removeprefix("^"))
        if ranges is None:
            raise BadRegex(f"invalid character class range: {self.pattern[self.at : end + 2]}")
        self.at = end + 2
        return _class(ranges, flags, inverted=name.startswith("^"))

    def _take(self, sign: str) -> bool:
        if self.pattern.startswith(sign, self.at):
            self.at += 1
            return True
        return False


def _literal(code: int, flags: _Flags) -> Chars:
    return _one_of_cases(code) if flags.fold_case else _one(code)


@functools.lru_cache(maxsize=512)
def _one(code: int) -> Chars:
    return Chars(((code, code),))


@functools.lru_cache(maxsize=512)
def _one_of_cases(code: int) -> Chars:
    return Chars(fold(((code, code),)))


def _class(ranges: Ranges, flags: _Flags, *, inverted: bool = False) -> Ranges:
    """Cases are folded before a class is inverted: `(?i)\\W` must not match K because of the Kelvin sign."""
    if flags.fold_case:
        ranges = fold(ranges)
    return negate(ranges) if inverted else ranges


def _repeat(item: Node, least: int, most: int | None, greedy: bool) -> Node:
    if isinstance(item, Place):  # a place repeated is the place, or nothing
        return item if least else EMPTY
    return Repeat(item, least, most, greedy)


def _leaves(node: Node) -> int:
    match node:
        case Sequence(items) | Choice(items):
            return sum(_leaves(item) for item in items)
        case Group(item):
            return _leaves(item)
        case Repeat(item, least, most):
            return _leaves(item) * max(1, least, most or 0)
        case _:
            return 1


def _check_repeats(node: Node, left: int) -> None:
    match node:
        case Sequence(items) | Choice(items):
            for item in items:
                _check_repeats(item, left)
        case Group(item):
            _check_repeats(item, left)
        case Repeat(item, least, most):
            times = max(1, least if most is None else most)
            if times > left:
                raise BadRegex(f"invalid repetition size: nested repetitions come to more than {MAX_REPEAT}")
            _check_repeats(item, left // times)
        case _:
            pass
