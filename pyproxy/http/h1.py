"""HTTP/1.1 decoders on llhttp (httptools): the fast engine. `http.h1_py` is the pure twin on h11.

A head that is here as a whole and made of plain lines (`http.h1_lines`) is read without llhttp: a look into a table
costs less than a parser. Every other head is read by `http.h1_head`, where llhttp looks at each byte. Both ways
obey `http.h1_rules`, and a head that is read the short way is one that the long way reads the same.

Bodies are never llhttp's: those with a length are counted here, chunks are read by `http.h1_chunks`. So nothing is
looked at before all that precedes it is judged. `CodecOptions.lenient`, `allow_custom_methods` and
`allow_chunked_length` are beyond llhttp: this engine is strict whatever they say, and `http.engines` takes the other
one for them.
"""

from __future__ import annotations

from typing import Any, Final

import httptools

from pyproxy.http import h1_head, h1_rules
from pyproxy.http.codec import (
    CodecError,
    CodecOptions,
    End,
    RequestEvent,
    RequestHead,
    ResponseEvent,
    ResponseHead,
)
from pyproxy.http.fast import has_any, read_head
from pyproxy.http.h1_chunks import ChunkReader
from pyproxy.http.h1_head import HeadReader
from pyproxy.http.h1_lines import NotPlain
from pyproxy.http.h1_tables import FIELDS, REQUEST_LINES, STATUS_LINES
from pyproxy.http.message import Headers, Pair

ENGINE: Final = "httptools"

_PERSISTENT: Final = {b"keep-alive": True, b"Keep-Alive": True, b"close": False, b"Close": False}
_NOT_PLAIN: Final = frozenset((b"transfer-encoding", b"upgrade", b"expect", b"proxy-connection"))
_ONCE: Final = frozenset((b"host", b"content-length", b"connection", b"transfer-encoding"))
_BODILESS: Final = frozenset((204, 304))

_TO_THE_END: Final = 1 << 60
"""Bytes of a body that only the close of the connection ends."""

_FEW_PIECES: Final = 4
"""Up to this many chunks are handed on one by one; more are joined, which costs less than as many events."""

_MOST_EMPTY_LINES: Final = 64
"""Empty lines that are passed over before a request (RFC 9112 2.2)."""


def _repeats_fairly(pairs: list[Pair]) -> bool:
    """Whether what stands more than once may do so; else the long way says what is wrong."""
    seen: set[bytes] = set()
    for name, _ in pairs:
        if name in seen and name in _ONCE:
            return False
        seen.add(name)
    return b"host" not in seen


def _plainly_chunked(headers: Headers, length: bytes | None) -> bool:
    """Whether all that makes the head not plain is that it is chunked, and that without doubt."""
    index = headers.index
    return (
        length is None
        and index.get(b"transfer-encoding") == b"chunked"
        and b"upgrade" not in index
        and b"expect" not in index
        and b"proxy-connection" not in index
    )


class _Decoder:
    """What both directions share: the state of the message that is being read."""

    __slots__ = (
        "_broken",
        "_busy",
        "_chunks",
        "_empty_lines",
        "_framing",
        "_limit",
        "_options",
        "_over",
        "_reader",
        "_remaining",
    )

    def __init__(self, options: CodecOptions) -> None:
        self._options = options
        self._limit = options.limits.headers_kb * 1024
        self._busy = False  # some of a message has come, and not all of it
        self._over = False  # no message begins any more
        self._broken = False  # the peer was told so
        self._reader: HeadReader | None = None  # of a head that is being read the long way
        self._remaining = 0  # bytes to come of a body with a length
        self._chunks: ChunkReader | None = None  # of a chunked body
        self._framing = 0  # bytes of a chunked body that were no data
        self._empty_lines = 0

    def _fail(self, error: CodecError, events: list[Any]) -> bytes:
        """The last event. What is behind it is not looked at."""
        self._over = True
        self._broken = True
        self._busy = False
        self._remaining = 0
        self._chunks = None
        self._reader = None
        events.append(error)
        return b""

    def _body(self, head: RequestHead | ResponseHead, data: bytes, start: int, events: list[Any]) -> bytes:
        """Take the body of a message, or what is here of it; gives what is behind."""
        events.append(head)
        length = head.content_length
        if not length:
            if head.chunked:
                return self._begin_chunks(head, data[start:], events)
            head.ended = True
            return data[start:]
        have = len(data) - start
        if have >= length:
            head.ended = True
            head.body = data[start : start + length]
            return data[start + length :]
        head.ended = False
        if have:
            events.append(data[start:])
        self._remaining = length - have
        self._busy = True
        return b""

    def _rest_of_body(self, data: bytes, events: list[Any]) -> bytes:
        """Take from `data` what belongs to a body that began in an earlier call; gives what is behind."""
        if self._chunks is not None:
            return self._read_chunks(None, data, events)
        remaining = self._remaining
        size = len(data)
        if size < remaining:
            self._remaining = remaining - size
            if size:
                events.append(data)
            return b""
        self._remaining = 0
        self._busy = False
        events.append(data if size == remaining else data[:remaining])
        events.append(End())
        return data[remaining:]

    def _begin_chunks(self, head: RequestHead | ResponseHead, data: bytes, events: list[Any]) -> bytes:
        raise NotImplementedError

    def _read_chunks(self, head: RequestHead | ResponseHead | None, data: bytes, events: list[Any]) -> bytes:
        """Take what belongs to a chunked body; gives what is behind. `head` is that of the message, if it is new."""
        chunks = self._chunks
        assert chunks is not None
        pieces: list[bytes] = []
        try:
            rest = chunks.feed(data, pieces)
        except CodecError as error:
            events += pieces
            return self._fail(error, events)
        self._framing += len(data) - len(rest) - sum(map(len, pieces))
        if len(pieces) > _FEW_PIECES or (len(pieces) > 1 and chunks.complete and head is not None):
            pieces = [b"".join(pieces)]
        if not chunks.complete:
            events += pieces
            self._busy = True
            return b""
        self._chunks = None
        self._busy = False
        if head is None or chunks.trailers:
            events += pieces
            events.append(End(chunks.trailers, self._framing))
        else:
            head.ended = True
            head.framing = self._framing
            if pieces:
                head.body = pieces[0]
        return rest

    def _feed_head(self, data: bytes, *, of_request: bool) -> tuple[bytes, bytes] | None:
        """Read on the long way: the head and what is behind it, or None while it goes on."""
        reader = self._reader
        if reader is None:
            self._reader = reader = HeadReader(self._options, of_request=of_request)
        rest = reader.feed(data)
        if len(reader.raw) > reader.limit:
            raise h1_rules.too_large(431 if of_request else 502, self._options)
        if rest is None:
            self._busy = True
            return None
        self._busy = False
        self._reader = None
        self._empty_lines = 0
        return reader.raw, rest


class H1RequestDecoder(_Decoder):
    """Reads requests (see `http.codec.RequestDecoder`)."""

    __slots__ = ("_half_line", "_tunnel")

    def __init__(self, options: CodecOptions) -> None:
        super().__init__(options)
        self._half_line = False  # the CR of an empty line has come
        self._tunnel = False  # what is behind the last message is not HTTP

    def receive(self, data: bytes) -> list[RequestEvent]:
        events: list[RequestEvent] = []
        if self._busy:
            if self._remaining or self._chunks is not None:
                data = self._rest_of_body(data, events)
            else:
                data = self._long_way(data, events)
        while data:
            if self._over:
                # RFC 9112 9.6: what follows the last request is ignored.
                if self._tunnel and not self._broken:
                    events.append(data)
                break
            rest = self._plain(data, events)
            data = self._long_way(data, events) if rest is None else rest
        return events

    def _plain(self, data: bytes, events: list[RequestEvent]) -> bytes | None:
        """Read one message the short way; gives what is behind it, or None where it must be the long way."""
        line: Pair
        pairs: list[Pair]
        index: dict[bytes, bytes]
        end: int
        try:
            read = read_head(data, REQUEST_LINES, FIELDS)
        except NotPlain:
            return None
        if read is None:
            return None
        line, pairs, index, end = read
        if end > self._limit:
            return None
        headers = Headers(pairs, index)
        length = index.get(b"content-length")
        if len(pairs) > self._options.limits.header_count:
            return None
        head = RequestHead()
        framed = False
        if has_any(index, _NOT_PLAIN):
            if not _plainly_chunked(headers, length):
                return None
            head.chunked = framed = True
        if length is not None:
            framed = True
            if not length.isdigit() or (length[0] == 0x30 and len(length) > 1) or len(length) > 18:
                return None
            head.content_length = int(length)
        host = index.pop(b"host", None)
        if host is not None:
            head.host = host
            pairs.remove((b"host", host))
        if len(index) != len(pairs) and not _repeats_fairly(pairs):
            return None
        if b"connection" in index:
            persistent = _PERSISTENT.get(index[b"connection"])
            if persistent is None:
                return None
            head.keep_alive = persistent
            self._over = not persistent
        head.method, head.target = line
        head.headers = headers
        head.size = end
        if framed:
            return self._body(head, data, end, events)
        events.append(head)
        head.ended = True
        return data[end:]

    def _long_way(self, data: bytes, events: list[RequestEvent]) -> bytes:
        """Read a head, or more of it, with llhttp, and what is here of its body; gives what is behind."""
        try:
            if self._reader is None:
                data = self._skip_empty_lines(data)
                if not data:
                    return b""
            skipped = 2 * self._empty_lines
            read = self._feed_head(data, of_request=True)
            if read is None:
                return b""
            try:
                head = h1_head.request_head(read[0], self._options)
            except httptools.HttpParserError as refused:
                return self._fail(h1_head.explain_request(refused, read[0]), events)
            head.size += skipped
        except CodecError as error:
            return self._fail(error, events)
        except httptools.HttpParserError as refused:
            raw = b"" if self._reader is None else self._reader.raw
            return self._fail(h1_head.explain_request(refused, raw), events)
        self._tunnel = head.method == b"CONNECT"
        self._over = self._tunnel or not head.keep_alive
        return self._body(head, read[1], 0, events)

    def _skip_empty_lines(self, data: bytes) -> bytes:
        """Pass over CRLF before a request, but not over CR or LF alone."""
        if self._half_line:
            data = b"\r" + data
            self._half_line = False
        at = 0
        while data.startswith(b"\r\n", at):
            at += 2
            self._empty_lines += 1
        data = data[at:]
        if self._empty_lines > _MOST_EMPTY_LINES or (data and data[0] in b"\r\n" and data != b"\r"):
            raise CodecError(400, "http1.codec_error", "empty lines before a request")
        self._busy = True  # so that the lines are counted until a request comes
        if data == b"\r":
            self._half_line = True
            return b""
        return data

    def _begin_chunks(self, head: RequestHead | ResponseHead, data: bytes, events: list[Any]) -> bytes:
        self._framing = 0
        self._chunks = ChunkReader(self._options, 400)
        return self._read_chunks(head, data, events)


class H1ResponseDecoder(_Decoder):
    """Reads responses (see `http.codec.ResponseDecoder`)."""

    __slots__ = ("_expected",)

    def __init__(self, options: CodecOptions) -> None:
        super().__init__(options)
        self._expected: list[bytes] = []

    def expect(self, method: bytes) -> None:
        self._expected.append(method)

    def receive(self, data: bytes) -> list[ResponseEvent]:
        events: list[ResponseEvent] = []
        if self._busy:
            if self._remaining or self._chunks is not None:
                data = self._rest_of_body(data, events)
            else:
                data = self._long_way(data, events)
        while data:
            if self._over or not self._expected:
                if not self._broken:
                    self._fail(CodecError(502, "http1.codec_error", "a response that nobody asked for"), events)
                break
            rest = self._plain(data, events)
            data = self._long_way(data, events) if rest is None else rest
        return events

    def _plain(self, data: bytes, events: list[ResponseEvent]) -> bytes | None:
        """Read one response the short way; gives what is behind it, or None where it must be the long way."""
        status: int
        pairs: list[Pair]
        index: dict[bytes, bytes]
        end: int
        try:
            read = read_head(data, STATUS_LINES, FIELDS)
        except NotPlain:
            return None
        if read is None:
            return None
        status, pairs, index, end = read
        if end > self._limit:
            return None
        headers = Headers(pairs, index)
        length = index.get(b"content-length")
        if len(pairs) > self._options.limits.header_count or (len(index) != len(pairs) and not _repeats_fairly(pairs)):
            return None
        head = ResponseHead()
        if has_any(index, _NOT_PLAIN):
            if not _plainly_chunked(headers, length):
                return None
            head.chunked = True
        if length is not None:
            if not length.isdigit() or (length[0] == 0x30 and len(length) > 1) or len(length) > 18:
                return None
            head.content_length = int(length)
        bodiless = status in _BODILESS or self._expected[0] == b"HEAD"
        if bodiless:
            if status == 204 and (head.chunked or head.content_length):
                return None
        elif length is None and not head.chunked:
            return None
        if b"connection" in index:
            persistent = _PERSISTENT.get(index[b"connection"])
            if persistent is None:
                return None
            head.keep_alive = persistent
            self._over = not persistent
        head.status = status
        head.headers = headers
        head.size = end
        del self._expected[0]
        if not bodiless:
            return self._body(head, data, end, events)
        events.append(head)
        head.ended = True
        return data[end:]

    def _long_way(self, data: bytes, events: list[ResponseEvent]) -> bytes:
        """Read a head, or more of it, with llhttp, and what is here of its body; gives what is behind."""
        try:
            if self._reader is None and data[0] in b"\r\n":
                raise CodecError(502, "http1.codec_error", "empty lines before a response")
            read = self._feed_head(data, of_request=False)
            if read is None:
                return b""
            head = h1_head.response_head(read[0], self._options)
        except CodecError as error:
            return self._fail(error, events)
        except httptools.HttpParserError as refused:
            return self._fail(CodecError(502, "http1.codec_error", str(refused)), events)
        rest = read[1]
        bodiless = h1_rules.has_no_body(head, self._expected[0])
        if head.status < 200:
            head.ended = True
            events.append(head)
            return rest
        del self._expected[0]
        to_the_end = not (bodiless or head.chunked or head.content_length is not None)
        if to_the_end:
            head.keep_alive = False
        self._over = not head.keep_alive
        if bodiless:
            head.ended = True
            events.append(head)
            return rest
        if not to_the_end:
            return self._body(head, rest, 0, events)
        events.append(head)
        self._remaining = _TO_THE_END
        self._busy = True
        return self._rest_of_body(rest, events)

    def receive_eof(self) -> list[ResponseEvent]:
        """The upstream closed: the end of a body, or of nothing, or an error."""
        if not self._busy:
            return []
        to_the_end = self._remaining > _TO_THE_END // 2
        events: list[ResponseEvent] = []
        self._fail(CodecError(502, "http1.codec_error", "the connection was closed in the middle of a message"), events)
        return [End()] if to_the_end else events

    def _begin_chunks(self, head: RequestHead | ResponseHead, data: bytes, events: list[Any]) -> bytes:
        self._framing = 0
        self._chunks = ChunkReader(self._options, 502)
        return self._read_chunks(head, data, events)
