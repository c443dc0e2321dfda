"""JSON arrays in pieces."""

from __future__ import annotations

import json

import pytest

from pyproxy.transcoding.error import TranscodingError
from pyproxy.transcoding.json_stream import ArrayReader

VALUES = [{"a": 'x"]}, \\ \u00fc'}, [], [[1, 2], {"b": [3]}], "a,b", 1, None, {}]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("indent", [None, 2])
def test_elements_come_when_they_are_whole(size: int, indent: int | None) -> None:
    text = f"  {json.dumps(VALUES, indent=indent, ensure_ascii=False)} \n".encode()
    reader = ArrayReader()
    found = [element for at in range(0, len(text), size) for element in reader.read(text[at : at + size])]
    reader.end()
    assert [json.loads(element) for element in found] == VALUES
    assert not reader.waiting


def test_an_element_is_not_held_back() -> None:
    reader = ArrayReader()
    assert reader.read(b'[{"a": 1},') == [b'{"a": 1}']
    assert reader.read(b' {"b"') == []
    assert reader.waiting == 5
    assert reader.read(b": 2}]") == [b'{"b": 2}']


def test_nothing() -> None:
    reader = ArrayReader()
    assert reader.read(b"[ ]") == []
    reader.end()
    ArrayReader().end()


@pytest.mark.parametrize("text", [b"{}", b"1", b"[1] 2", b"[1]]"])
def test_what_is_no_array(text: bytes) -> None:
    with pytest.raises(TranscodingError):
        ArrayReader().read(text)


def test_an_array_without_an_end() -> None:
    reader = ArrayReader()
    reader.read(b"[1, 2")
    with pytest.raises(TranscodingError, match="does not end"):
        reader.end()
