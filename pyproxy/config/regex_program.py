"""Runs regular expressions in time proportional to the text, whatever pattern and text are: tree -> program -> answer.

`config.regex` uses it where Python's backtracking `re` could take quadratic or exponential time, and for texts that
are not ASCII. Whole-text questions are answered by a deterministic automaton that is built state by state as texts
need it (25 to 60 ns a byte once built); searches with groups by stepping all alternatives side by side (Pike's
machine, about a microsecond a byte). Both read bytes and take characters as UTF-8, as RE2 does.
"""

from __future__ import annotations

from typing import Any, Final

from pyproxy.config.regex_classes import WORD, Ranges
from pyproxy.config.regex_syntax import AnyByte, Chars, Choice, Group, Node, Place, Repeat, Sequence, Where

# Kinds of what stands beside a position; they decide where a Place holds.
_EDGE, _NEWLINE, _WORD_BYTE, _OTHER = range(4)
_MOST_STATES: Final = 500
"""Beyond this the automaton forgets what it has built and begins anew, so that texts cannot make it grow."""

_WORD_BYTES: Final = frozenset(code for low, high in WORD for code in range(low, high + 1))
_KINDS: Final = bytes(_NEWLINE if code == 10 else _WORD_BYTE if code in _WORD_BYTES else _OTHER for code in range(256))

Spans = list[int]
"""Start and end of the whole match, of group 1, of group 2 and so on; -1 where a group took no part."""


class Program:
    """Instructions: a byte out of a set, two ways to go on, a place, a group's edge, the end.

    `byte[pc]` is the set as a bit mask (0: not a byte instruction), `after[pc]` the next instruction.
    """

    __slots__ = ("after", "byte", "groups", "other", "place", "places", "save", "start")

    def __init__(self, tree: Node, groups: int) -> None:
        self.byte: list[int] = []
        self.after: list[int] = []
        self.other: list[int] = []
        self.place: list[Where | None] = []
        self.save: list[int] = []
        self.groups = groups
        self.places = False
        end = self._add(-1)
        assert end == 0  # instruction 0 is the end
        self.start = self._emit(Group(tree, 0), end)

    def _add(self, after: int, *, byte: int = 0, other: int = -1, place: Where | None = None, save: int = -1) -> int:
        self.byte.append(byte)
        self.after.append(after)
        self.other.append(other)
        self.place.append(place)
        self.save.append(save)
        return len(self.byte) - 1

    def _emit(self, node: Node, after: int) -> int:
        """Add what matches `node` and goes on to `after`; gives where it begins."""
        match node:
            case Chars(ranges):
                return self._emit_chars(ranges, after)
            case AnyByte():
                return self._add(after, byte=(1 << 256) - 1)
            case Place(where):
                self.places = True
                return self._add(after, place=where)
            case Sequence(items):
                for item in reversed(items):
                    after = self._emit(item, after)
                return after
            case Choice(branches):
                return self._emit_choice([self._emit(branch, after) for branch in branches])
            case Group(item, index):
                close = self._add(after, save=2 * index + 1)
                return self._add(self._emit(item, close), save=2 * index)
            case Repeat():
                return self._emit_repeat(node, after)

    def _emit_choice(self, ways: list[int]) -> int:
        first = ways.pop()
        while ways:
            first = self._add(ways.pop(), other=first)
        return first

    def _emit_chars(self, ranges: Ranges, after: int) -> int:
        ways: list[int] = []
        singles = 0
        for sequence in (sequence for low, high in ranges for sequence in utf8_sequences(low, high)):
            if len(sequence) == 1:
                singles |= _mask(*sequence[0])
                continue
            way = after
            for low, high in reversed(sequence):
                way = self._add(way, byte=_mask(low, high))
            ways.append(way)
        if singles or not ways:
            # A set that holds nothing is a byte instruction that takes no byte: bit 256 keeps it from being 0.
            ways.insert(0, self._add(after, byte=singles or 1 << 256))
        return self._emit_choice(ways)

    def _emit_repeat(self, node: Repeat, after: int) -> int:
        copies = node.least
        if node.most is None:
            after, copies = self._emit_loop(node, after)
        else:
            end = after
            for _ in range(node.most - node.least):
                after = self._choose(self._emit(node.item, after), end, greedy=node.greedy)
        for _ in range(copies):
            after = self._emit(node.item, after)
        return after

    def _emit_loop(self, node: Repeat, after: int) -> tuple[int, int]:
        """The loop, and how many copies of the item must stand before it.

        One that must run once, or whose item can be empty, is tested behind its item, and may be skipped as a whole:
        otherwise an empty round would spoil the order of what is tried (as in RE2).
        """
        loop = self._choose(-1, after, greedy=node.greedy)
        body = self._emit(node.item, loop)
        self.after[loop], self.other[loop] = (body, after) if node.greedy else (after, body)
        if node.least:
            return body, node.least - 1
        if nullable(node.item):
            return self._choose(body, after, greedy=node.greedy), 0
        return loop, 0

    def _choose(self, body: int, end: int, *, greedy: bool) -> int:
        first, second = (body, end) if greedy else (end, body)
        return self._add(first, other=second)


def nullable(node: Node) -> bool:
    """Whether a node can match nothing."""
    match node:
        case Chars() | AnyByte():
            return False
        case Place():
            return True
        case Sequence(items):
            return all(nullable(item) for item in items)
        case Choice(branches):
            return any(nullable(branch) for branch in branches)
        case Group(item):
            return nullable(item)
        case Repeat(item, least):
            return least == 0 or nullable(item)


def _holds(where: Where, before: int, after: int) -> bool:
    match where:
        case Where.TEXT_START:
            return before == _EDGE
        case Where.TEXT_END:
            return after == _EDGE
        case Where.LINE_START:
            return before in (_EDGE, _NEWLINE)
        case Where.LINE_END:
            return after in (_EDGE, _NEWLINE)
        case Where.WORD_EDGE:
            return (before == _WORD_BYTE) != (after == _WORD_BYTE)
        case Where.NO_WORD_EDGE:
            return (before == _WORD_BYTE) == (after == _WORD_BYTE)


class _State:
    """The threads that are alive at one place of a text, and what stood before it."""

    __slots__ = ("before", "reached", "threads")

    def __init__(self, threads: frozenset[int], before: int) -> None:
        self.threads = threads
        self.before = before
        self.reached: dict[int, tuple[int, ...]] = {}


_Row = list[Any]
"""One state as the loop over the text reads it: for each byte the next row, () if nothing can match any more, None
where that has not been asked yet; then the _State itself. CPython indexes nothing faster than a plain list."""


class Automaton:
    """Says whether a whole text fits."""

    __slots__ = ("_program", "_rows", "_start")

    def __init__(self, program: Program) -> None:
        self._program = program
        self._rows: dict[tuple[frozenset[int], int], _Row] = {}
        self._start = self._row(frozenset((program.start,)), _EDGE)

    def matches(self, text: bytes) -> bool:
        row = self._start
        for byte in text:
            following = row[byte]
            if not following:
                if following is None:
                    following = self._step(row, byte)
                if not following:
                    return False
            row = following
        return 0 in self._reach(row[256], _EDGE)

    def _row(self, threads: frozenset[int], before: int) -> _Row:
        key = threads, before if self._program.places else _OTHER
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= _MOST_STATES:
                for old in self._rows.values():
                    old[:256] = [None] * 256
                self._rows.clear()
            row = self._rows[key] = [None] * 256
            row.append(_State(threads, before))
        return row

    def _step(self, row: _Row, byte: int) -> _Row | tuple[()]:
        """The row after one more byte; kept for the next time."""
        kind = _KINDS[byte]
        bit = 1 << byte
        program = self._program
        reached = self._reach(row[256], kind)
        taken = frozenset(program.after[pc] for pc in reached if program.byte[pc] & bit)
        following = row[byte] = self._row(taken, kind) if taken else ()
        return following

    def _reach(self, state: _State, after: int) -> tuple[int, ...]:
        """Every byte instruction, and the end, that can be reached without taking a byte."""
        key = after if self._program.places else _OTHER
        found = state.reached.get(key)
        if found is None:
            found = state.reached[key] = self._closure(state, after)
        return found

    def _closure(self, state: _State, after: int) -> tuple[int, ...]:
        program = self._program
        seen = set(state.threads)
        pending = list(seen)
        found: list[int] = []
        while pending:
            pc = pending.pop()
            if pc == 0 or program.byte[pc]:
                found.append(pc)
                continue
            where = program.place[pc]
            if where is not None and not _holds(where, state.before, after):
                continue
            for following in (program.after[pc], program.other[pc]):
                if following >= 0 and following not in seen:
                    seen.add(following)
                    pending.append(following)
        return tuple(found)


def find(program: Program, text: bytes, start: int) -> Spans | None:
    """The first match at or after `start`, the one that Perl would find (RE2: leftmost-first)."""
    found: Spans | None = None
    threads: list[tuple[int, Spans]] = []
    before = _KINDS[text[start - 1]] if start else _EDGE
    for at in range(start, len(text) + 1):
        after = _KINDS[text[at]] if at < len(text) else _EDGE
        seen: set[int] = set()
        ready: list[tuple[int, Spans]] = []
        for pc, spans in threads:
            _follow(program, pc, spans, at, before, after, seen, ready)
        if found is None:
            fresh = [-1] * (2 * program.groups + 2)
            _follow(program, program.start, fresh, at, before, after, seen, ready)
        threads = []
        for pc, spans in ready:
            if pc == 0:
                found = spans
                break  # what stands behind it would be a worse match
            if at < len(text) and program.byte[pc] >> text[at] & 1:
                threads.append((program.after[pc], spans))
        if found is not None and not threads:
            break
        before = after
    return found


def _follow(
    program: Program,
    pc: int,
    spans: Spans,
    at: int,
    before: int,
    after: int,
    seen: set[int],
    ready: list[tuple[int, Spans]],
) -> None:
    """Put on `ready`, best first, what can be reached from `pc` without taking a byte."""
    pending = [(pc, spans)]
    while pending:
        pc, spans = pending.pop()
        if pc in seen:
            continue
        seen.add(pc)
        if pc == 0 or program.byte[pc]:
            ready.append((pc, spans))
            continue
        where = program.place[pc]
        if where is not None and not _holds(where, before, after):
            continue
        if program.save[pc] >= 0:
            spans = spans.copy()
            spans[program.save[pc]] = at
        if program.other[pc] >= 0:
            pending.append((program.other[pc], spans))
        pending.append((program.after[pc], spans))


def _mask(low: int, high: int) -> int:
    return (1 << (high + 1)) - (1 << low)


def utf8_sequences(low: int, high: int) -> list[tuple[tuple[int, int], ...]]:
    """The UTF-8 forms of a range of characters, as sequences of byte ranges."""
    for limit in (0x7F, 0x7FF, 0xFFFF):
        if low <= limit < high:
            return utf8_sequences(low, limit) + utf8_sequences(limit + 1, high)
    if high < 0x80:
        return [((low, high),)]
    for bits in (6, 12, 18):  # split where the trailing bytes do not run through all their values
        tail = (1 << bits) - 1
        if low >> bits != high >> bits:
            if low & tail:
                return utf8_sequences(low, low | tail) + utf8_sequences((low | tail) + 1, high)
            if high & tail != tail:
                return utf8_sequences(low, (high & ~tail) - 1) + utf8_sequences(high & ~tail, high)
    return [tuple(zip(chr(low).encode(), chr(high).encode(), strict=True))]
