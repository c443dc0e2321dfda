"""The chunked coding of HTTP/1.1 (RFC 9112 7.1), read in one pass over what came.

Chunks are read here and not by llhttp, which cannot stop behind a message: what follows one must not be looked at
before the message is judged as a whole, extensions and trailers included.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from pyproxy.http import h1_rules
from pyproxy.http.codec import CodecError, CodecOptions
from pyproxy.http.message import Pair

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
_EXTENSION: Final = rb";%b(?:=(?:%b|%b))?" % (_TOKEN, _TOKEN, _QUOTED)
_SIZE_DIGITS: Final = 16
"""64 bits; zeros may stand before them."""

_SIZE_LINE: Final = re.compile(rb"(0*[0-9A-Fa-f]{1,16})((?:%b)*)" % _EXTENSION)
_PARTIAL_SIZE_LINE: Final = re.compile(rb"(?:0*[0-9A-Fa-f]{1,16}(?:;[\t\x20-\x7e\x80-\xff]*)?\r?)?")
_FIELD: Final = re.compile(rb"(%b):[ \t]*([\t\x20-\x7e\x80-\xff]*)" % _TOKEN)
_PARTIAL_FIELD: Final = re.compile(rb"(?:%b)?|%b:[\t\x20-\x7e\x80-\xff]*\r?|\r" % (_TOKEN, _TOKEN))
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding"))


class ChunkReader:
    """Reads the body of one message, in as many calls as it takes."""

    __slots__ = (
        "_bad_status",
        "_extensions",
        "_fields",
        "_in_trailers",
        "_left",
        "_options",
        "_pending",
        "_trailer_bytes",
        "complete",
        "trailers",
    )

    def __init__(self, options: CodecOptions, bad_status: int) -> None:
        self._options = options
        self._bad_status = bad_status  # 400 for a downstream, 502 for an upstream
        self._left = 0  # bytes of the chunk that are still to come, with its line end
        self._pending = b""  # a line, or a line end, of which some has come
        self._extensions = 0
        self._in_trailers = False
        self._trailer_bytes = 0
        self._fields: list[Pair] = []
        self.complete = False
        self.trailers: list[Pair] | None = None
        """What to hand on, once the body is complete."""

    def feed(self, data: bytes, pieces: list[bytes]) -> bytes:
        """Append the data of chunks to `pieces`; gives what is behind the message. Raises CodecError."""
        if self._pending:
            data = self._pending + data
            self._pending = b""
        size = len(data)
        at = 0
        while at < size:
            left = self._left
            if left:
                if left > size - at:
                    self._part_of_chunk(data[at:], pieces)
                    return b""
                end = at + left
                if data[end - 2 : end] != b"\r\n":
                    self._refuse("chunk data that is not followed by CRLF")
                if left > 2:
                    pieces.append(data[at : end - 2])
                self._left = 0
                at = end
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                self._part_of_line(data[at:])
                return b""
            if not self._in_trailers:
                self._size_line(data[at:end])
            elif end > at:
                self._trailer_line(data[at:end])
            else:
                self._end()
                return data[end + 2 :]
            at = end + 2
        return b""

    def _part_of_chunk(self, data: bytes, pieces: list[bytes]) -> None:
        """Fewer bytes than the rest of the chunk and its line end."""
        of_data = self._left - 2
        if len(data) <= of_data:
            pieces.append(data)
            self._left -= len(data)
            return
        if data[-1:] != b"\r":
            self._refuse("chunk data that is not followed by CRLF")
        if of_data:
            pieces.append(data[:-1])
        self._left = 2
        self._pending = b"\r"

    def _part_of_line(self, line: bytes) -> None:
        """Refuse garbage when it comes, not when a limit is reached."""
        if self._in_trailers:
            self._bound_trailers(len(line))
            if _PARTIAL_FIELD.fullmatch(line) is None:
                self._refuse("a malformed trailer")
        else:
            self._bound_extensions(len(line) - 1 - _SIZE_DIGITS)
            if _PARTIAL_SIZE_LINE.fullmatch(line) is None:
                self._refuse("a malformed chunk size")
        self._pending = line

    def _size_line(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            self._refuse("a malformed chunk size")
        digits = match[1]
        if len(digits) < len(line) or len(digits) > _SIZE_DIGITS:
            surplus = len(line) - min(len(digits), _SIZE_DIGITS)
            self._bound_extensions(surplus)
            self._extensions += surplus
        length = int(digits, 16)
        if length:
            self._left = length + 2
        else:
            self._in_trailers = True

    def _bound_extensions(self, more: int) -> None:
        """All of one message together (CVE-2024-22019)."""
        if self._extensions + more > self._options.limits.chunk_extension_bytes:
            self._refuse("too many bytes of chunk extensions")

    def _trailer_line(self, line: bytes) -> None:
        self._trailer_bytes += len(line) + 2
        self._bound_trailers(0)
        match = _FIELD.fullmatch(line)
        if match is None:
            self._refuse("a malformed trailer")
        name = match[1].lower()
        if name in _FRAMING:
            self._refuse("framing in the trailers")
        self._fields.append((name, match[2].rstrip(b" \t")))
        limit = self._options.limits.header_count
        if len(self._fields) > limit:
            raise CodecError(self._too_large(), "http1.too_many_trailers", f"more than {limit} trailer fields")

    def _bound_trailers(self, more: int) -> None:
        limit = self._options.limits.headers_kb
        if self._trailer_bytes + more > limit * 1024:
            raise CodecError(self._too_large(), "http1.headers_too_large", f"more than {limit} KiB of trailers")

    def _too_large(self) -> int:
        return 431 if self._bad_status == 400 else 502

    def _end(self) -> None:
        self._bound_trailers(2)
        if self._fields:
            self.trailers = h1_rules.trailers_to_keep(self._fields, self._options)
        self.complete = True

    def _refuse(self, reason: str) -> NoReturn:
        raise CodecError(self._bad_status, "http1.codec_error", reason)
