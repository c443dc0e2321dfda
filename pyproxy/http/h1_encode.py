"""Writing HTTP/1.1: heads, chunks and their ends, as few byte strings as can be.

What is written here was either read by a codec or made by a compile step that refused line breaks, so nothing
is checked again.
"""

from __future__ import annotations

import http
from collections.abc import Iterable
from typing import Final

from pyproxy.http.fast import write_head
from pyproxy.http.message import Pair

_COLON: Final = b": ".join
_LINE: Final = b"\r\n".join

_STATUS_LINES: Final = {s.value: b"HTTP/1.1 %d %b\r\n" % (s.value, s.phrase.encode()) for s in http.HTTPStatus}
# Envoy's phrases where Python's differ by version (RFC 9110 15).
_STATUS_LINES[413] = b"HTTP/1.1 413 Payload Too Large\r\n"
_STATUS_LINES[416] = b"HTTP/1.1 416 Range Not Satisfiable\r\n"
_STATUS_LINES[422] = b"HTTP/1.1 422 Unprocessable Entity\r\n"
_STATUS_LINES[599] = b"HTTP/1.1 599 Last Unassigned Server Error Code\r\n"
_STATUS_LINES[418] = b"HTTP/1.1 418 Unknown\r\n"

LAST_CHUNK: Final = b"0\r\n\r\n"


def request_line(method: bytes, target: bytes, authority: bytes, host: bytes = b"host") -> bytes:
    """A request line and Host, which comes first (RFC 9110 7.2); `host` is how its name is written."""
    return b"%b %b HTTP/1.1\r\n%b: %b\r\n" % (method, target, host, authority)


def request_head(method: bytes, target: bytes, authority: bytes, pairs: list[Pair]) -> bytes:
    """A request line and header block."""
    return write_head(request_line(method, target, authority), pairs)


def status_line(status: int, version: str = "HTTP/1.1") -> bytes:
    """`version` is the request's: HTTP/1.0 is answered in kind (as Envoy does)."""
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status
    if version == "HTTP/1.0":
        line = b"HTTP/1.0" + line[8:]
    return line


def chunk(data: bytes) -> tuple[bytes, bytes, bytes]:
    """One chunk of a chunked body (RFC 9112 7.1). `data` must not be empty."""
    return b"%x\r\n" % len(data), data, b"\r\n"


def last_chunk(trailers: Iterable[Pair] | None) -> bytes:
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n%b\r\n\r\n" % _LINE(map(_COLON, trailers))


def title_case(pairs: list[Pair]) -> list[Pair]:
    """`content-type` as `Content-Type` (Envoy: proper_case_words)."""
    return [(b"-".join([word.capitalize() for word in name.split(b"-")]), value) for name, value in pairs]
