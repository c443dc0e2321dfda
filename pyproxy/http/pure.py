"""What is done for every request, in Python: the twins of `http.native`, which is the same in C."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pyproxy.http.message import Pair

_MOST_LINES: Final = 2048
"""Lines that one table remembers: a flood of new lines costs only its own misses."""

_ODD: Final = re.compile(rb"[#%\\]|/[./]")
_COLON: Final = b": ".join
_LINE: Final = b"\r\n".join


class LineTable(dict[bytes, Any]):
    """What each line means. When it is full it begins again."""

    def __init__(self, read: Callable[[bytes], tuple[Any, bool]]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, line: bytes) -> Any:
        meaning, keep = self._read(line)
        if keep:
            if len(self) >= _MOST_LINES:
                self.clear()
            self[line] = meaning
        return meaning


def read_head(
    data: bytes, first: LineTable, fields: LineTable
) -> tuple[Any, list[Pair], dict[bytes, bytes], int] | None:
    """What the start line means, the fields, the last value of each name, and where the head ends.

    None where it does not end here. Raises what the tables raise.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    lines = iter(data[:end].split(b"\r\n"))
    meaning = first[next(lines)]
    pairs = [fields[line] for line in lines]
    return meaning, pairs, dict(pairs), end + 4


def write_head(line: bytes, pairs: list[Pair]) -> bytes:
    """A head of the start line `line`, which has its CRLF, and these fields."""
    if pairs:
        return b"%b%b\r\n\r\n" % (line, _LINE(map(_COLON, pairs)))
    return line + b"\r\n"


def has_any(index: dict[bytes, bytes], names: frozenset[bytes]) -> bool:
    """Whether one of `names` is a key of `index`."""
    return not index.keys().isdisjoint(names)


def index_of(pairs: list[Pair]) -> dict[bytes, bytes]:
    """The last value of each name."""
    return dict(pairs)


def take_away(pairs: list[Pair], index: dict[bytes, bytes], names: frozenset[bytes]) -> None:
    """Remove every field of these names from both."""
    pairs[:] = [pair for pair in pairs if pair[0] not in names]
    for name in names:
        index.pop(name, None)


def is_odd(path: bytes) -> bool:
    """Whether normalisation, or the refusal of a fragment, would have something to do with a path."""
    return _ODD.search(path) is not None


def advance(coroutine: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
    """Let a coroutine go on: whether it has ended, and what it waits for or what it returned."""
    try:
        return False, coroutine.send(None)
    except StopIteration as stop:
        return True, stop.value
