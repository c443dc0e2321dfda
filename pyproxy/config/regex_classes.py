"""Sets of characters in regular expressions, as sorted ranges of code points that do not touch.

Surrogates are in no set: no UTF-8 text holds them.
"""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

Ranges = tuple[tuple[int, int], ...]

ANY: Final[Ranges] = ((0, 0xD7FF), (0xE000, 0x10FFFF))
ANY_BUT_NEWLINE: Final[Ranges] = ((0, 9), (11, 0xD7FF), (0xE000, 0x10FFFF))
WORD: Final[Ranges] = ((48, 57), (65, 90), (95, 95), (97, 122))

PERL: Final[Mapping[str, Ranges]] = {"d": ((48, 57),), "s": ((9, 10), (12, 13), (32, 32)), "w": WORD}

POSIX: Final[Mapping[str, Ranges]] = {
    "alnum": ((48, 57), (65, 90), (97, 122)),
    "alpha": ((65, 90), (97, 122)),
    "ascii": ((0, 127),),
    "blank": ((9, 9), (32, 32)),
    "cntrl": ((0, 31), (127, 127)),
    "digit": ((48, 57),),
    "graph": ((33, 126),),
    "lower": ((97, 122),),
    "print": ((32, 126),),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "space": ((9, 13), (32, 32)),
    "upper": ((65, 90),),
    "word": WORD,
    "xdigit": ((48, 57), (65, 70), (97, 102)),
}

_MOST_FOLDED: Final = 4096
"""Beyond ASCII, a range with more characters than this is taken to hold both cases of them already."""


def normal(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sorted, with what overlaps or touches joined."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def union(one: Ranges, other: Ranges) -> Ranges:
    return normal((*one, *other))


def intersect(one: Ranges, other: Ranges) -> Ranges:
    return tuple(
        (max(low, from_), min(high, to)) for low, high in one for from_, to in other if max(low, from_) <= min(high, to)
    )


def negate(ranges: Ranges) -> Ranges:
    """All characters but these."""
    gaps: list[tuple[int, int]] = []
    start = 0
    for low, high in ranges:
        if low > start:
            gaps.append((start, low - 1))
        start = high + 1
    gaps.append((start, 0x10FFFF))
    return intersect(tuple(gap for gap in gaps if gap[0] <= gap[1]), ANY)


def fold(ranges: Ranges) -> Ranges:
    """With the other cases of every character (RE2: simple case folding)."""
    added: list[tuple[int, int]] = list(ranges)
    for low, high in ranges:
        if high - low > _MOST_FOLDED:
            low, high = low, min(high, 127)
        for code in range(low, high + 1):
            added.extend((other, other) for other in _other_cases(code))
    return normal(added)


@functools.lru_cache(maxsize=4096)
def _other_cases(code: int) -> tuple[int, ...]:
    char = chr(code)
    others = {char.lower(), char.upper(), char.upper().lower(), char.lower().upper()}
    if char in "kK\u212a":
        others |= {"k", "K", "\u212a"}
    if char in "sS\u017f":
        others |= {"s", "S", "\u017f"}
    return tuple(ord(other) for other in others if len(other) == 1 and other != char)


def unicode_class(name: str) -> Ranges | None:
    """A general category (`L`, `Lu`, `Nd`, ...) or `Any`; None for what is not one."""
    if name == "Any":
        return ANY
    return _categories().get(name)


@functools.cache
def _categories() -> Mapping[str, Ranges]:
    """Every general category. Takes a fraction of a second, once, for those who use them."""
    found: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    start, current = 0, unicodedata.category("\0")
    for code in range(1, sys.maxunicode + 2):
        category = unicodedata.category(chr(code)) if code <= sys.maxunicode else ""
        if category != current:
            if current not in ("Cn", "Cs"):
                found[current].append((start, code - 1))
                found[current[0]].append((start, code - 1))
            start, current = code, category
    return {name: normal(ranges) for name, ranges in found.items()}
