"""Heads of HTTP/1 that are looked up and written in C, against the Python of which that is the fast form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.http import h1_encode, h1_lines

h1_native = pytest.importorskip("pyproxy.http.h1_native", reason="built without Cython or a C compiler")

LINES = st.one_of(
    st.sampled_from(
        [b"host: a", b"Accept: */*", b"a:", b"no colon", b"", b"x: \r", b"x: \n", b"cookie: a=b", b"a: b\r\r"]
    ),
    st.builds(lambda name, value: name + b": " + value, st.sampled_from([b"a", b"Host", b"B"]), st.binary(max_size=12)),
)
HEADS = st.lists(LINES, max_size=6)
PAIRS = st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=300)), max_size=9)


def outcome(engine: Any, read_head: Any, data: bytes, end: int) -> object:
    try:
        first = engine.LineTable(h1_lines.read_request_line)
        fields = engine.LineTable(h1_lines.read_field)
        read_head(data, end, first, fields)
        return read_head(data, end, first, fields)  # what was learnt the first time means the same the second time
    except h1_lines.NotPlain:
        return "not plain"


@given(
    st.sampled_from([b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"GET / HTTP/1.0", b""]), HEADS, st.binary(max_size=5)
)
def test_both_read_the_same(start: bytes, lines: list[bytes], behind: bytes) -> None:
    head = b"\r\n".join([start, *lines])
    data = head + b"\r\n\r\n" + behind
    native = outcome(h1_native, h1_native.read_head, data, len(head))
    assert native == outcome(h1_lines, h1_lines.read_head, data, len(head))


@given(st.binary(max_size=40), PAIRS)
def test_both_write_the_same(line: bytes, pairs: list[tuple[bytes, bytes]]) -> None:
    assert h1_native.write_head(line, pairs) == h1_encode.write_head(line, pairs)


@pytest.mark.parametrize("pairs", [[(b"a",)], [(b"a", "b")], [(None, b"b")], ["ab"]], ids=repr)
def test_only_pairs_of_bytes_are_written(pairs: list[Any]) -> None:
    with pytest.raises(TypeError):
        h1_native.write_head(b"GET / HTTP/1.1\r\n", pairs)


def test_a_flood_of_lines_leaves_what_they_mean_as_it_is() -> None:
    table = h1_native.LineTable(h1_lines.read_field)
    for _ in range(2):
        for number in range(5000):
            assert table[b"x-%d: %d" % (number, number)] == (b"x-%d" % number, b"%d" % number)


def test_secrets_are_read_anew() -> None:
    table = h1_native.LineTable(h1_lines.read_field)
    line = b"authorization: Basic abc"
    assert table[line] == table[line]
    assert table[line] is not table[line]
    assert table[b"accept: b"] is table[b"accept: b"]
