"""Regular expressions with RE2's meaning, in time proportional to the text. The one place that makes them.

Envoy's regexes are RE2's: they cannot be made slow by who sends the text, and control planes rely on their exact
syntax. How that is kept without RE2:

- `config.regex_syntax` reads a pattern as RE2 does and refuses what RE2 refuses.
- A pattern on which backtracking stays linear (`config.regex_cost`; nearly all in use are such) is written anew for
  Python's `re` and runs there, for texts that are ASCII: 0.3 to 0.8 us for a path, as pyre2.
- All other patterns, and texts that are not ASCII, run on `config.regex_program`, which is linear by construction:
  about 1.5 us for a path of 30 bytes, 2 to 8 ms for one of 60 KiB. `re` took 8 s for `.*a.*b` on 60 KiB of `a`, and
  4 s for `(a|a)*b` on 24 bytes, doubling with every byte more.

So no pattern has to be refused for what it might cost, and there is no second regex library with its own opinions.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Final

from pyproxy.config.regex_classes import ANY, ANY_BUT_NEWLINE, Ranges
from pyproxy.config.regex_cost import is_linear
from pyproxy.config.regex_program import Automaton, Program, Spans, find
from pyproxy.config.regex_syntax import (
    AnyByte,
    BadRegex,
    Chars,
    Choice,
    Group,
    Node,
    Place,
    Repeat,
    Sequence,
    Where,
    parse,
)

__all__ = ["BadRegex", "Regex", "build_rewrite", "check_regex", "check_substitution", "compile_regex"]

_CACHED: Final = 2048

_PLACES: Final = {
    Where.TEXT_START: r"\A",
    Where.TEXT_END: r"\Z",
    Where.LINE_START: "(?m:^)",
    Where.LINE_END: "(?m:$)",
    Where.WORD_EDGE: r"\b",
    Where.NO_WORD_EDGE: r"(?!\b)",  # `\B` of `re` does not match in an empty text
}
_ASCII: Final = 128


class Regex:
    """One pattern, ready for use."""

    __slots__ = ("__dict__", "_searches", "_source", "_tree", "groups", "matches", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._tree, self.groups = _parsed(pattern)
        self._source = _source(self._tree).encode()
        self._searches = is_linear(self._tree, search=True)
        self.matches: Callable[[bytes], bool] = self._matcher()
        """Whether the whole of a text fits (RE2: FullMatch)."""

    def find(self, text: bytes, start: int = 0) -> Spans | None:
        """Where the first match at or after `start` begins and ends, and each of its groups; None without a match."""
        if self._searches and text.isascii():
            found = self._compiled.search(text, start)
            return [edge for span in found.regs for edge in span] if found else None
        return find(self._program, text, start)

    def _matcher(self) -> Callable[[bytes], bool]:
        if not is_linear(self._tree, search=False):
            return lambda text: self._automaton.matches(text)
        fullmatch = self._compiled.fullmatch

        def matches(text: bytes) -> bool:
            if text.isascii():
                return fullmatch(text) is not None
            return self._automaton.matches(text)

        return matches

    # What only some patterns and texts need is made when it is needed.

    @functools.cached_property
    def _compiled(self) -> re.Pattern[bytes]:
        return re.compile(self._source)

    @functools.cached_property
    def _program(self) -> Program:
        return Program(self._tree, self.groups)

    @functools.cached_property
    def _automaton(self) -> Automaton:
        return Automaton(self._program)

    def __repr__(self) -> str:
        return f"<Regex {self.pattern!r}>"


@functools.lru_cache(maxsize=_CACHED)
def compile_regex(pattern: str) -> Regex:
    """The live form of a pattern; equal patterns share one. Raises BadRegex."""
    return Regex(pattern)


def check_regex(pattern: str) -> None:
    """Raises BadRegex where RE2 would not take the pattern."""
    _parsed(pattern)


def build_rewrite(pattern: str, substitution: str) -> Callable[[bytes], bytes]:
    """A function that replaces every match in a text (RE2: GlobalReplace, as in Envoy's regex_rewrite)."""
    regex = compile_regex(pattern)
    parts, _ = _substitution(substitution)
    if any(isinstance(part, int) and part > regex.groups for part in parts):
        return lambda text: text  # RE2 replaces nothing then; at any other mistake it writes what stands before it

    def rewrite(text: bytes) -> bytes:
        done: list[bytes] = []
        at = copied = 0
        last_end = -1
        while at <= len(text):
            spans = regex.find(text, at)
            if spans is None:
                break
            start, end = spans[0], spans[1]
            if start == end == last_end:  # nothing, right behind the last match, is not a match
                at = _next_character(text, end)
                continue
            done.append(text[copied:start])
            done.extend(part if isinstance(part, bytes) else _group(text, spans, part) for part in parts)
            copied = last_end = at = end
        done.append(text[copied:])
        return b"".join(done)

    return rewrite


def check_substitution(pattern: str, substitution: str) -> str:
    """What is wrong with a substitution, empty if nothing is. RE2 and so Envoy take a wrong one without a word."""
    parts, mistake = _substitution(substitution)
    groups = compile_regex(pattern).groups
    highest = max((part for part in parts if isinstance(part, int)), default=0)
    return mistake or (f"\\{highest} refers to a group that the pattern does not have" if highest > groups else "")


def _substitution(text: str) -> tuple[tuple[bytes | int, ...], str]:
    """Literal bytes and numbers of groups, up to the first mistake; and the mistake."""
    parts: list[bytes | int] = []
    literal, at = "", 0
    mistake = ""
    while at < len(text):
        sign, at = text[at], at + 1
        if sign != "\\":
            literal += sign
            continue
        escaped, at = text[at : at + 1], at + 1
        if escaped == "\\":
            literal += escaped
        elif escaped and escaped in "0123456789":
            parts += [literal.encode(), int(escaped)]
            literal = ""
        else:
            mistake = f"\\{escaped} is neither a group nor an escaped backslash"
            break
    parts.append(literal.encode())
    return tuple(part for part in parts if part != b""), mistake


def _group(text: bytes, spans: Spans, index: int) -> bytes:
    start = spans[2 * index]
    return text[start : spans[2 * index + 1]] if start >= 0 else b""


def _next_character(text: bytes, at: int) -> int:
    at += 1
    while at < len(text) and text[at] & 0xC0 == 0x80:
        at += 1
    return at


@functools.lru_cache(maxsize=_CACHED)
def _parsed(pattern: str) -> tuple[Node, int]:
    return parse(pattern)


# Trees as patterns of `re`, for bytes that are ASCII.


def _source(node: Node) -> str:
    match node:
        case Chars(ranges):
            return _class(ranges)
        case AnyByte():
            return "(?s:.)"
        case Place(where):
            return _PLACES[where]
        case Sequence(items):
            return "".join(_source(item) for item in items) or "(?:)"
        case Choice(branches):
            return f"(?:{'|'.join(_source(branch) for branch in branches)})"
        case Group(item):
            return f"({_source(item)})"
        case Repeat():
            return _repeat(node)


def _repeat(node: Repeat) -> str:
    inner = _source(node.item)
    if not isinstance(node.item, Chars | AnyByte | Group):
        inner = f"(?:{inner})"
    limits = node.least, node.most
    signs = {(0, None): "*", (1, None): "+", (0, 1): "?"}
    sign = signs.get(limits) or f"{{{node.least},{'' if node.most is None else node.most}}}"
    return f"{inner}{sign}{'' if node.greedy else '?'}"


def _class(ranges: Ranges) -> str:
    if ranges == ANY_BUT_NEWLINE:
        return "."
    if ranges == ANY:
        return "(?s:.)"
    inside = [(low, min(high, _ASCII - 1)) for low, high in ranges if low < _ASCII]
    if not inside:
        return r"[^\x00-\xff]"
    if inside[0][0] == inside[-1][1]:
        return re.escape(chr(inside[0][0]))
    outside = _gaps(inside)
    if len(outside) < len(inside):
        return f"[^{_spelled(outside)}]" if outside else "(?s:.)"
    return f"[{_spelled(inside)}]"


def _gaps(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    edges = [-1, *(edge for pair in ranges for edge in pair), _ASCII]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(low + 1, high - 1) for low, high in pairs if low + 1 < high]


def _spelled(ranges: list[tuple[int, int]]) -> str:
    return "".join(f"\\x{low:02x}" if low == high else f"\\x{low:02x}-\\x{high:02x}" for low, high in ranges)
