"""The lines of HTTP/1 messages, read without tolerance (RFC 9112 2 to 7).

h11 is lenient about line ends, folded fields, white space, control characters and chunk extensions. The pure engine
(`http.h1_py`) has these readers look at every byte before h11 sees it. Lines that are not complete yet are checked as
far as they go, so that garbage is refused when it comes and not when a limit is reached.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

from pyproxy.http.codec import CodecError, CodecOptions
from pyproxy.http.message import Pair

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]"
_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'

_FIELD = re.compile(rb"(%b+):[ \t]*(%b*?)[ \t]*" % (_TOKEN, _VALUE))
_PARTIAL_FIELD = re.compile(rb"%b*|%b+:%b*\r?|\r" % (_TOKEN, _TOKEN, _VALUE))
_FOLD = re.compile(rb"[ \t]+(%b*?)[ \t]*\r?" % _VALUE)
# RFC 9112 7.1.1 without the white space, which it calls bad.
_EXTENSION = rb";%b+(?:=(?:%b+|%b))?" % (_TOKEN, _TOKEN, _QUOTED)
# 16 digits are 64 bits.
_CHUNK_LINE = re.compile(rb"0*([0-9A-Fa-f]{1,16})((?:%b)*)" % _EXTENSION)
_PARTIAL_CHUNK_LINE = re.compile(rb"(?:0*[0-9A-Fa-f]{1,16}(?:;[\t\x20-\x7e\x80-\xff]*)?\r?)?")

_LONGEST_SIZE = 17
"""Digits and CR."""

MAX_EMPTY_LINES = 64
"""Empty lines that are passed over before a start line (RFC 9112 2.2)."""

CheckLine = Callable[[bytes], object]


class FieldLines:
    """A start line and header fields, or trailer fields if `start` is None; over at the empty line.

    `start` gives the pattern that a start line fits in as far as it has come, and what checks the whole line.
    `status` and `kind` say how to complain: (431, "headers"), (502, "headers"), (431, "trailers").
    """

    def __init__(
        self, options: CodecOptions, start: tuple[re.Pattern[bytes], CheckLine] | None, *, status: int, kind: str
    ) -> None:
        self.start = b""
        self.fields: list[Pair] = []
        self.size = 0
        self.skipped = 0  # bytes of empty lines before the start line
        self.complete = False
        self._line = bytearray()
        self._options = options
        self._start = start
        self._needs_start = start is not None
        self._empty_lines = 0
        self._status = status
        self._kind = kind

    @property
    def begun(self) -> bool:
        """Whether some of the lines have come."""
        return bool(self.start or self._line)

    def feed(self, data: bytes, at: int) -> int:
        """Take what belongs to these lines from `at` on; where the rest begins. Raises CodecError."""
        while not self.complete:
            end = data.find(b"\n", at)
            if end < 0:
                self._line += data[at:]
                self._grow(len(data) - at)
                self._check_partial(bytes(self._line))
                return len(data)
            self._line += data[at:end]
            self._grow(end + 1 - at)
            at = end + 1
            line = bytes(self._line)
            self._line.clear()
            if line.endswith(b"\r"):
                line = line[:-1]
            elif not self._options.lenient:
                self._refuse("a line that ends in LF alone")
            self._take(line)
        return at

    def _take(self, line: bytes) -> None:
        if self._needs_start:
            if line:
                assert self._start is not None
                self._start[1](line)
                self.start = line
                self._needs_start = False
            else:
                self._skip_empty()
        elif not line:
            self.complete = True
        elif line[:1] in b" \t":
            self._unfold(line)
        else:
            field = _FIELD.fullmatch(line)
            if field is None:
                self._refuse("a malformed field line")
            self.fields.append((field[1], field[2]))
            if len(self.fields) > self._options.limits.header_count:
                raise CodecError(
                    self._status,
                    f"http1.too_many_{self._kind}",
                    f"more than {self._options.limits.header_count} {self._kind}",
                )

    def _skip_empty(self) -> None:
        self._empty_lines += 1
        self.skipped += self.size
        self.size = 0
        if self._empty_lines > MAX_EMPTY_LINES or self._status == 502:
            self._refuse("empty lines before a message")

    def _unfold(self, line: bytes) -> None:
        """RFC 9112 5.2: reject, or replace by SP."""
        more = _FOLD.fullmatch(line)
        if not self._options.lenient or not self.fields or more is None:
            self._refuse("a folded field line")
        name, value = self.fields[-1]
        self.fields[-1] = (name, (value + b" " + more[1]).strip(b" \t"))

    def _check_partial(self, line: bytes) -> None:
        if not line:
            return
        if self._needs_start:
            assert self._start is not None
            if line != b"\r" and not self._start[0].fullmatch(line):
                self._refuse("a malformed start line")
        elif line[:1] in b" \t":
            if not self._options.lenient or not self.fields or not _FOLD.fullmatch(line):
                self._refuse("a folded field line")
        elif not _PARTIAL_FIELD.fullmatch(line):
            self._refuse("a malformed field line")

    def _grow(self, size: int) -> None:
        self.size += size
        limit = self._options.limits.headers_kb
        if self.size > limit * 1024:
            raise CodecError(self._status, "http1.headers_too_large", f"more than {limit} KiB of {self._kind}")

    def _refuse(self, reason: str) -> NoReturn:
        raise CodecError(400 if self._status == 431 else 502, "http1.codec_error", reason)


class ChunkLines:
    """The framing of a chunked body. What it lets through is for h11, which takes the body out of it.

    Trailers are read here and not given to h11, which would judge fields that only get dropped.
    """

    def __init__(self, options: CodecOptions, *, bad_status: int) -> None:
        self.complete = False
        self.trailers = FieldLines(options, None, status=431 if bad_status == 400 else 502, kind="trailers")
        self._options = options
        self._bad_status = bad_status
        self._line = bytearray()
        self._left = 0  # bytes of data that are still to come, and the CRLF after them
        self._in_trailers = False
        self._extensions = 0

    def feed(self, data: bytes, at: int, passed: bytearray) -> int:
        """Append what is in order to `passed`; where the bytes after the message begin. Raises CodecError."""
        while at < len(data) and not self.complete:
            if self._in_trailers:
                at = self.trailers.feed(data, at)
                if self.trailers.complete:
                    self.complete = True
                    passed += b"\r\n"
            elif self._left:
                at = self._data(data, at, passed)
            else:
                at = self._size_line(data, at, passed)
        return at

    def _data(self, data: bytes, at: int, passed: bytearray) -> int:
        before = self._left
        piece = data[at : at + before]
        self._left = left = before - len(piece)
        # The last two bytes are the line end; some of it may have come before or be still to come.
        expected = b"\r\n"[max(0, 2 - before) : max(0, 2 - left)]
        if not piece.endswith(expected):
            passed += piece[: -len(expected)]
            raise CodecError(self._bad_status, "http1.codec_error", "chunk data that is not followed by CRLF")
        passed += piece
        return at + len(piece)

    def _size_line(self, data: bytes, at: int, passed: bytearray) -> int:
        end = data.find(b"\n", at)
        self._line += data[at:] if end < 0 else data[at:end]
        line = bytes(self._line)
        if end < 0:
            self._count_extensions(len(line) - _LONGEST_SIZE)
            if not _PARTIAL_CHUNK_LINE.fullmatch(line):
                self._refuse("a malformed chunk size")
            return len(data)
        self._line.clear()
        match = _CHUNK_LINE.fullmatch(line[:-1])
        if not line.endswith(b"\r") or match is None:
            self._refuse("a malformed chunk size")
        self._count_extensions(len(match[2]))
        self._extensions += len(match[2])
        size = int(match[1], 16)
        passed += b"%x\r\n" % size
        if size:
            self._left = size + 2
        else:
            self._in_trailers = True
        return end + 1

    def _count_extensions(self, more: int) -> None:
        """All of one message together (CVE-2024-22019)."""
        if self._extensions + more > self._options.limits.chunk_extension_bytes:
            self._refuse("too many bytes of chunk extensions")

    def _refuse(self, reason: str) -> NoReturn:
        raise CodecError(self._bad_status, "http1.codec_error", reason)
