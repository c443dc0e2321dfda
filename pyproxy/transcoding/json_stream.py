"""A JSON array that comes in pieces: its elements, each as soon as it is whole."""

from __future__ import annotations

import re

from pyproxy.transcoding.error import TranscodingError

_TOKENS = re.compile(rb'["\\{}\[\],]')
_SPACE = b" \t\r\n"


class ArrayReader:
    """`read` gives the texts of elements. Whether they are JSON is for others to find out. Raises TranscodingError."""

    __slots__ = ("_at", "_begun", "_buffer", "_depth", "_ended", "_in_string", "_start")

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0  # what is before it was looked at
        self._start = 0  # of the element
        self._depth = 0
        self._in_string = False
        self._begun = False
        self._ended = False

    @property
    def waiting(self) -> int:
        """Bytes of an element that is not whole."""
        return 0 if self._ended else len(self._buffer)

    def read(self, chunk: bytes) -> list[bytes]:
        self._buffer += chunk
        found: list[bytes] = []
        if not self._begun:
            self._buffer = self._buffer.lstrip(_SPACE)
            if not self._buffer:
                return found
            if self._buffer[:1] != b"[":
                kind = "an object" if self._buffer[:1] == b"{" else "something else"
                raise TranscodingError("INVALID_ARGUMENT", f"Expected an array instead of {kind}")
            self._begun = True
            self._depth = self._at = self._start = 1
        self._scan(found)
        if self._ended and self._buffer[self._start :].strip(_SPACE):
            raise TranscodingError("INVALID_ARGUMENT", "there is something behind the end of the array")
        self._buffer = self._buffer[self._start :]
        self._at -= self._start
        self._start = 0
        return found

    def end(self) -> None:
        """Nothing more comes."""
        if self._begun and not self._ended:
            raise TranscodingError("INVALID_ARGUMENT", "the array does not end")

    def _scan(self, found: list[bytes]) -> None:
        data = self._buffer
        at = self._at
        while not self._ended:
            token = _TOKENS.search(data, at)
            if token is None:
                at = len(data)
                break
            kind, at = token[0], token.end()
            if self._in_string:
                if kind == b"\\":
                    if at == len(data):  # what it escapes is still to come
                        at -= 1
                        break
                    at += 1
                elif kind == b'"':
                    self._in_string = False
            elif kind == b'"':
                self._in_string = True
            elif kind in b"{[":
                self._depth += 1
            elif kind in b"}]":
                self._depth -= 1
                if not self._depth:
                    self._take(found, at, last=True)
                    self._ended = True
            elif kind == b"," and self._depth == 1:
                self._take(found, at, last=False)
        self._at = at

    def _take(self, found: list[bytes], end: int, *, last: bool) -> None:
        element = self._buffer[self._start : end - 1].strip(_SPACE)
        self._start = end
        if element or not last:
            found.append(element)
