"""HTTP/1.1 decoders on h11: the pure twin of `http.h1`, for machines without httptools and as its oracle.

Two readers must agree on every message: `http.h1_strict` looks at the raw lines, then h11 parses them and takes the
body out. Each message has an `h11.Connection` of its own, which plays only the receiving half.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

import h11

from pyproxy.http import h1_rules
from pyproxy.http.codec import CodecError, CodecOptions, End, RequestEvent, RequestHead, ResponseEvent, ResponseHead
from pyproxy.http.h1_strict import ChunkLines, FieldLines
from pyproxy.http.message import Headers, Pair

ENGINE = "h11"

# The methods that llhttp knows, and with it Envoy: those of the IANA registry that proxies meet, WebDAV, UPnP.
METHODS = frozenset(
    b"ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY"
    b" OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK"
    b" UNLOCK UNSUBSCRIBE".split()
)
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) (?:HTTP/([0-9]\.[0-9]))")
_VERSIONLESS = re.compile(rb"[A-Z\-]+ /[\x21-\x7e]*")
_PARTIAL_REQUEST_LINE = re.compile(
    rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*"
    rb"|[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e]*\r?"
    rb"|[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e]+ (?:HTTP/[0-9]\.[0-9]\r?|HTTP/[0-9]\.?|H|HT|HTT|HTTP|HTTP/)?"
)
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([0-9]{3})(?: [\t\x20-\x7e\x80-\xff]*)?")
_PARTIAL_STATUS_LINE = re.compile(
    rb"H|HT|HTT|HTTP|HTTP/|HTTP/1|HTTP/1\.|HTTP/1\.[01](?: [0-9]{0,3})?"
    rb"|HTTP/1\.[01] [0-9]{3}(?: [\t\x20-\x7e\x80-\xff]*)?\r?"
)


_TO_THE_END = 1 << 62
"""Bytes of a body that only the close of the connection ends."""


class _Decoder:
    """What both directions share: one message after the other, each head, then body, then end."""

    _bad_status: int
    _too_large_status: int
    _partial_start: re.Pattern[bytes]

    def _start_line(self, line: bytes) -> tuple[bytes, ...]:
        """The parts of a start line. Raises CodecError."""
        raise NotImplementedError

    def __init__(self, options: CodecOptions) -> None:
        self._options = options
        self._lines = self._head_lines()
        self._engine: h11.Connection | None = None  # of the message whose body is being read
        self._chunks: ChunkLines | None = None
        self._left = 0  # of a body that is not chunked
        self._framing = 0  # bytes of a chunked body that were no data
        self._events: list[Any] = []
        self._head: Any = None  # of the message, if it began in this call
        self._body: list[bytes] = []
        self._last = False  # no message follows the one that is being read
        self._over = False

    def _receive(self, data: bytes) -> list[Any]:
        self._events = events = []
        at = 0
        try:
            while at < len(data) and not self._over:
                at = self._read_head(data, at) if self._engine is None else self._read_body(data, at)
            if at < len(data):
                self._after_the_last(data[at:])
            self._flush()
        except CodecError as error:
            self._over = True
            self._flush()
            events.append(error)
        return events

    def _head_lines(self) -> FieldLines:
        start = (self._partial_start, self._start_line)
        return FieldLines(self._options, start, status=self._too_large_status, kind="headers")

    def _read_head(self, data: bytes, at: int) -> int:
        lines = self._lines
        at = lines.feed(data, at)
        if lines.complete:
            self._lines = self._head_lines()
            self._on_head(lines)
        return at

    def _on_head(self, lines: FieldLines) -> None:
        raise NotImplementedError

    def _after_the_last(self, data: bytes) -> None:
        raise NotImplementedError

    def _ask_h11(self, engine: h11.Connection, lines: FieldLines, extra: bytes = b"") -> None:
        """Have h11 read the same head, in the form that its lines were reduced to."""
        fields = b"".join(b"%b: %b\r\n" % field for field in lines.fields)
        try:
            engine.receive_data(b"%b\r\n%b%b\r\n" % (lines.start, fields, extra))
            engine.next_event()
        except h11.RemoteProtocolError as error:
            raise CodecError(self._bad_status, "http1.codec_error", str(error)) from error

    def _begin(self, head: Any, engine: h11.Connection, *, chunked: bool, length: int) -> None:
        """The head is in order: announce it, and read its body."""
        head.body = b""
        head.ended = False
        self._head = head
        self._events.append(head)
        self._engine = engine
        self._chunks = ChunkLines(self._options, bad_status=self._bad_status) if chunked else None
        self._left = length
        self._framing = 0
        self._pull()

    def _read_body(self, data: bytes, at: int) -> int:
        engine, chunks = self._engine, self._chunks
        assert engine is not None
        fault = None
        if chunks is None:
            end = min(len(data), at + self._left)
            passed = bytearray(data[at:end])
            self._left -= end - at
        else:
            passed = bytearray()
            try:
                end = chunks.feed(data, at, passed)
                self._framing += end - at
            except CodecError as error:
                fault = error
        if passed:
            engine.receive_data(bytes(passed))
            self._pull()
        if fault is not None:
            raise fault
        return end

    def _pull(self) -> None:
        """Take what h11 has made of it."""
        assert self._engine is not None
        try:
            while isinstance(event := self._engine.next_event(), h11.Data):
                piece = bytes(event.data)
                (self._events if self._head is None else self._body).append(piece)
                self._framing -= len(piece)
        except h11.RemoteProtocolError as error:
            raise CodecError(self._bad_status, "http1.codec_error", str(error)) from error
        if isinstance(event, h11.EndOfMessage):
            self._end()

    def _end(self) -> None:
        trailers = None
        framing = 0 if self._chunks is None else self._framing
        self._engine = None
        self._over = self._last
        if self._chunks is not None:
            fields = _lower(self._chunks.trailers.fields)
            if any(name in (b"content-length", b"transfer-encoding") for name, _ in fields):
                raise CodecError(self._bad_status, "http1.codec_error", "framing in the trailers")
            trailers = h1_rules.trailers_to_keep(fields, self._options)
        head = self._head
        if head is None or trailers:
            self._flush()
            self._events.append(End(trailers, framing))
        else:
            head.ended = True
            head.framing = framing
            head.body = b"".join(self._body)
            self._body.clear()
            self._head = None

    def _flush(self) -> None:
        """The message goes on after this call: what is here of its body follows its head as events."""
        self._events += self._body
        self._body.clear()
        self._head = None


class H1RequestDecoder(_Decoder):
    """Reads requests (see `http.codec.RequestDecoder`)."""

    _bad_status = 400
    _too_large_status = 431
    _partial_start = _PARTIAL_REQUEST_LINE

    def __init__(self, options: CodecOptions) -> None:
        super().__init__(options)
        self._tunnel = False

    def receive(self, data: bytes) -> list[RequestEvent]:
        return self._receive(data)

    def _on_head(self, lines: FieldLines) -> None:
        head = RequestHead()
        head.method, head.target, version = self._start_line(lines.start)
        head.version = f"HTTP/{version.decode()}"
        head.headers = headers = Headers(_lower(lines.fields))
        head.size = lines.size
        named = b"host" in headers
        h1_rules.check_request(head, self._options)
        head.size += lines.skipped
        engine = h11.Connection(h11.SERVER, max_incomplete_event_size=_TO_THE_END)
        # h11 insists on Host; that there is none is for the connection manager to say.
        self._ask_h11(engine, lines, b"" if named else b"host: none\r\n")
        self._tunnel = head.method == b"CONNECT"
        self._last = self._tunnel or not head.keep_alive
        self._begin(head, engine, chunked=head.chunked, length=head.content_length or 0)

    def _start_line(self, line: bytes) -> tuple[bytes, ...]:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            if _VERSIONLESS.fullmatch(line):
                raise CodecError(426, "low_version", "HTTP/0.9 is not supported")
            raise CodecError(400, "http1.codec_error", "a malformed request line")
        method, target, version = match.groups()
        if method not in METHODS and not self._options.allow_custom_methods:
            raise CodecError(400, "http1.codec_error", "an unknown method")
        if version not in (b"1.1", b"1.0"):
            raise CodecError(426, "low_version", f"HTTP/{version.decode()} is not supported")
        return method, target, version

    def _after_the_last(self, data: bytes) -> None:
        """Behind CONNECT it is the tunnel's; otherwise RFC 9112 9.6 says to ignore it."""
        if self._tunnel:
            self._events.append(data)


class H1ResponseDecoder(_Decoder):
    """Reads responses (see `http.codec.ResponseDecoder`)."""

    _bad_status = 502
    _too_large_status = 502
    _partial_start = _PARTIAL_STATUS_LINE

    def __init__(self, options: CodecOptions) -> None:
        super().__init__(options)
        self._expected: deque[bytes] = deque()
        self._broken = False

    def expect(self, method: bytes) -> None:
        self._expected.append(method)

    def receive(self, data: bytes) -> list[ResponseEvent]:
        if self._broken:
            return []
        events = self._receive(data)
        self._broken = bool(events) and isinstance(events[-1], CodecError)
        return events

    def receive_eof(self) -> list[ResponseEvent]:
        if self._broken or (self._engine is None and not self._lines.begun):
            return []
        if self._engine is not None and self._chunks is None and self._left > _TO_THE_END // 2:
            self._engine.receive_data(b"")
            self._events = []
            self._pull()
            return self._events
        self._broken = True
        return [CodecError(502, "http1.codec_error", "the connection was closed in the middle of a message")]

    def _read_head(self, data: bytes, at: int) -> int:
        if not self._expected:
            raise CodecError(502, "http1.codec_error", "a response that nobody asked for")
        return super()._read_head(data, at)

    def _start_line(self, line: bytes) -> tuple[bytes, ...]:
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise CodecError(502, "http1.codec_error", "a malformed status line")
        return match.groups()

    def _on_head(self, lines: FieldLines) -> None:
        version, code = self._start_line(lines.start)
        head = ResponseHead()
        head.version = f"HTTP/{version.decode()}"
        head.status = status = int(code)
        head.headers = Headers(_lower(lines.fields))
        head.size = lines.size
        h1_rules.check_response(head, self._options)
        method = self._expected[0] if status < 200 else self._expected.popleft()
        bodyless = h1_rules.has_no_body(head, method)
        framed = bodyless or head.chunked or head.content_length is not None
        head.keep_alive = framed and head.keep_alive
        engine = h11.Connection(h11.CLIENT, max_incomplete_event_size=_TO_THE_END)
        engine.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"none")]))
        engine.send(h11.EndOfMessage())
        self._ask_h11(engine, lines)
        if status < 200:
            head.body = b""
            head.ended = True
            self._events.append(head)
            return
        self._last = not head.keep_alive
        length = 0 if bodyless else head.content_length if head.content_length is not None else _TO_THE_END
        self._begin(head, engine, chunked=head.chunked and not bodyless, length=length)

    def _after_the_last(self, data: bytes) -> None:
        raise CodecError(502, "http1.codec_error", "bytes behind the last response")


def _lower(fields: list[Pair]) -> list[Pair]:
    return [(name.lower(), value) for name, value in fields]
