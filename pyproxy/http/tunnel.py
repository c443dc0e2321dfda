"""Tunnels over HTTP/1: reads the answer to a request that asks for one, and after it bytes that are no HTTP.

RFC 9110 7.8 (Upgrade, answered with 101) and 9.3.6 (CONNECT, answered with 2xx). Any other answer is an ordinary one.
"""

from __future__ import annotations

import re

from pyproxy.http.codec import CodecError, CodecOptions, End, ResponseDecoder, ResponseEvent, ResponseHead
from pyproxy.http.message import Headers

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2})(?: [^\r\n]*)?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_FRAMING = (b"content-length", b"transfer-encoding")


class TunnelDecoder:
    """A `http.codec.ResponseDecoder` for one request; `ordinary` reads what is not the beginning of a tunnel."""

    def __init__(self, ordinary: ResponseDecoder, options: CodecOptions) -> None:
        self._ordinary = ordinary
        self._limit = options.limits.headers_kb * 1024
        self._connect = False
        self._head = b""
        self._open = False
        self._refused = False  # it is an ordinary response

    def expect(self, method: bytes) -> None:
        self._connect = method == b"CONNECT"
        self._ordinary.expect(method)

    def receive(self, data: bytes) -> list[ResponseEvent]:
        if self._open:
            return [data]
        if self._refused:
            return self._ordinary.receive(data)
        self._head += data
        events: list[ResponseEvent] = []
        while (end := self._head.find(b"\r\n\r\n")) >= 0:
            raw, rest = self._head[:end], self._head[end + 4 :]
            found = _STATUS_LINE.fullmatch(raw.partition(b"\r\n")[0])
            status = 0 if found is None else int(found[1])
            if (self._connect and 200 <= status < 300) or (status == 101 and not self._connect):
                return [*events, *self._begin(status, raw, rest)]
            if not 100 <= status < 200 or status == 101:
                break
            events += self._ordinary.receive(raw + b"\r\n\r\n")  # an interim response
            self._head = rest
        if end < 0 and len(self._head) <= self._limit:
            return events
        self._refused = True
        return [*events, *self._ordinary.receive(self._head)]

    def _begin(self, status: int, raw: bytes, rest: bytes) -> list[ResponseEvent]:
        pairs = []
        for line in raw.split(b"\r\n")[1:]:
            field = _FIELD.fullmatch(line)
            if field is None:
                self._refused = True
                return [CodecError(502, "http1.codec_error", "a malformed field line")]
            name = field[1].lower()
            if name not in _FRAMING:  # RFC 9110 8.6, RFC 9112 6.1: they mean nothing here
                pairs.append((name, field[2].rstrip(b" \t")))
        head = ResponseHead()
        head.status = status
        head.headers = Headers(pairs)
        head.keep_alive = False
        head.size = len(raw) + 4
        self._open = True
        return [head, rest] if rest else [head]

    def receive_eof(self) -> list[ResponseEvent]:
        if self._open:
            return [End()]
        if self._refused:
            return self._ordinary.receive_eof()
        return [CodecError(502, "http1.codec_error", "the connection was closed in the middle of a message")]


class RawDecoder:
    """What comes is no HTTP at all: a CONNECT that ends here."""

    def expect(self, method: bytes) -> None:
        pass

    def receive(self, data: bytes) -> list[ResponseEvent]:
        return [data]

    def receive_eof(self) -> list[ResponseEvent]:
        return [End()]
