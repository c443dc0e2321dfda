"""What is done in C for every request, against the Python of which it is the fast form."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.http import h1_lines, pure

native = pytest.importorskip("pyproxy.http.native", reason="built without Cython or a C compiler")

LINES = st.one_of(
    st.sampled_from(
        [b"host: a", b"Accept: */*", b"a:", b"no colon", b"", b"x: \r", b"x: \n", b"cookie: a=b", b"a: b\r\r"]
    ),
    st.builds(lambda name, value: name + b": " + value, st.sampled_from([b"a", b"Host", b"B"]), st.binary(max_size=12)),
)
STARTS = st.sampled_from([b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"GET / HTTP/1.0", b""])
HEADS = st.lists(LINES, max_size=6)
ENDS = st.sampled_from([b"\r\n\r\n", b"\r\n\r\n", b"\r\n", b"\r\n\r", b"\n\n"])
PAIRS = st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=300)), max_size=9)
NAMES = st.binary(max_size=1)


def outcome(engine: Any, data: bytes) -> object:
    try:
        first = engine.LineTable(h1_lines.read_request_line)
        fields = engine.LineTable(h1_lines.read_field)
        engine.read_head(data, first, fields)
        return engine.read_head(data, first, fields)  # what was learnt the first time means the same the second time
    except h1_lines.NotPlain:
        return "not plain"


@given(STARTS, HEADS, ENDS, st.binary(max_size=5))
def test_both_read_the_same(start: bytes, lines: list[bytes], end: bytes, behind: bytes) -> None:
    data = b"\r\n".join([start, *lines]) + end + behind
    assert outcome(native, data) == outcome(pure, data)


@given(st.binary(max_size=40), PAIRS)
def test_both_write_the_same(line: bytes, pairs: list[tuple[bytes, bytes]]) -> None:
    assert native.write_head(line, pairs) == pure.write_head(line, pairs)


@pytest.mark.parametrize("pairs", [[(b"a",)], [(b"a", "b")], [(None, b"b")], ["ab"]], ids=repr)
def test_only_pairs_of_bytes_are_written(pairs: list[Any]) -> None:
    with pytest.raises(TypeError):
        native.write_head(b"GET / HTTP/1.1\r\n", pairs)


def test_a_flood_of_lines_leaves_what_they_mean_as_it_is() -> None:
    table = native.LineTable(h1_lines.read_field)
    for _ in range(2):
        for number in range(5000):
            assert table[b"x-%d: %d" % (number, number)] == (b"x-%d" % number, b"%d" % number)


def test_secrets_are_read_anew() -> None:
    table = native.LineTable(h1_lines.read_field)
    line = b"authorization: Basic abc"
    assert table[line] == table[line]
    assert table[line] is not table[line]
    assert table[b"accept: b"] is table[b"accept: b"]


@given(st.dictionaries(NAMES, NAMES), st.frozensets(NAMES))
def test_both_find_the_same_names(index: dict[bytes, bytes], names: frozenset[bytes]) -> None:
    assert native.has_any(index, names) is pure.has_any(index, names)


@given(PAIRS)
def test_both_index_the_same(pairs: list[tuple[bytes, bytes]]) -> None:
    assert native.index_of(pairs) == pure.index_of(pairs)


@given(st.lists(st.tuples(NAMES, NAMES)), st.frozensets(NAMES))
def test_both_take_the_same_away(pairs: list[tuple[bytes, bytes]], names: frozenset[bytes]) -> None:
    left = []
    for engine in (native, pure):
        copy, index = list(pairs), dict(pairs)
        engine.take_away(copy, index, names)
        left.append((copy, index))
    assert left[0] == left[1]


@given(st.text("/.%#\\\\a", max_size=5).map(str.encode))
def test_both_find_the_same_odd(path: bytes) -> None:
    assert native.is_odd(path) is pure.is_odd(path)


class Turn:
    def __await__(self) -> Generator[Any, None, str]:
        yield self
        return "rested"


async def waits_and_returns() -> tuple[str, int]:
    return await Turn(), 7


async def raises() -> None:
    await Turn()
    raise LookupError("gone")


@pytest.mark.parametrize("engine", [native, pure], ids=["native", "pure"])
def test_coroutines_go_on(engine: Any) -> None:
    coroutine: Coroutine[Any, Any, Any] = waits_and_returns()
    ended, waiting = engine.advance(coroutine)
    assert not ended
    assert isinstance(waiting, Turn)
    assert engine.advance(coroutine) == (True, ("rested", 7))
    failing = raises()
    engine.advance(failing)
    with pytest.raises(LookupError, match="gone"):
        engine.advance(failing)
