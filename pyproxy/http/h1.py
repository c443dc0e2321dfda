"""HTTP/1.1 decoders on llhttp (httptools): the fast engine. `http.h1_py` is the pure twin on h11.

A message whose head is here as a whole, is made of plain lines (`http.h1_lines`) and has a length or no body is
read without llhttp: a call back for each field costs more than a look into a table. Everything else, and
everything that looks odd, goes to llhttp, which checks most of RFC 9112; what it lets pass and we do not is
checked by `http.h1_rules`, for both ways alike.

The methods named `on_*` are httptools' callbacks: they must not raise, so they write down what is wrong in `_fault`.
"""

from __future__ import annotations

from typing import Any

import httptools

from pyproxy.http import h1_rules
from pyproxy.http.codec import (
    CodecError,
    CodecOptions,
    End,
    RequestEvent,
    RequestHead,
    ResponseEvent,
    ResponseHead,
)
from pyproxy.http.h1_lines import FieldLines, NotPlain, RequestLines, StatusLines
from pyproxy.http.message import Headers, Pair

ENGINE = "httptools"

# What every connection of this process has learnt; bounded, and made of lines that peers send all the time.
_FIELD = FieldLines().__getitem__
_REQUEST_LINE = RequestLines().__getitem__
_STATUS_LINE = StatusLines().__getitem__

_PERSISTENT = {b"keep-alive": True, b"Keep-Alive": True, b"close": False, b"Close": False}
_NOT_PLAIN = frozenset((b"transfer-encoding", b"upgrade", b"expect"))
_BODILESS = frozenset((204, 304))


_ONCE = frozenset((b"host", b"content-length", b"connection"))


def _repeats_fairly(pairs: list[Pair]) -> bool:
    """Whether what stands more than once may do so; else llhttp and the rules say what is wrong."""
    seen: set[bytes] = set()
    for name, _ in pairs:
        if name in seen and name in _ONCE:
            return False
        seen.add(name)
    return b"host" not in seen


class _Decoder:
    """What both directions share: the state of the message that is being read."""

    __slots__ = (
        "_begun",
        "_body",
        "_body_bytes",
        "_chunks",
        "_events",
        "_fault",
        "_head",
        "_in_head",
        "_limit",
        "_options",
        "_pairs",
        "_parser",
        "_raw",
        "_remaining",
        "_wire",
    )

    def __init__(self, options: CodecOptions) -> None:
        self._options = options
        self._limit = options.limits.headers_kb * 1024
        self._events: list[Any] = []
        self._fault: CodecError | None = None
        self._pairs: list[Pair] = []
        self._head: Any = None  # of the message that began in this call
        self._begun = False  # some of a message has come
        self._in_head = True
        self._raw = b""  # the bytes that hold the head which is being read, and perhaps some before it
        self._body: list[bytes] = []
        self._remaining = 0  # bytes to come of a body whose head was plain
        self._wire = self._body_bytes = self._chunks = 0

    def on_message_begin(self) -> None:
        self._begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._pairs.append((name.lower(), value.rstrip(b" \t")))

    def on_chunk_header(self) -> None:
        self._chunks += 1

    def on_body(self, chunk: bytes) -> None:
        self._body_bytes += len(chunk)
        if self._head is not None:
            self._body.append(chunk)
        else:
            self._events.append(chunk)

    def _complete(self) -> None:
        head, self._head = self._head, None
        trailers = None
        if self._pairs:
            try:
                trailers = h1_rules.check_trailers(self._pairs, self._options)
            except CodecError as error:
                self._fault = self._fault or error
            self._pairs = []
        if head is None or trailers:
            self._flush_body(head)
            self._events.append(End(trailers))
        else:
            head.ended = True
            if self._body:
                head.body = b"".join(self._body) if len(self._body) > 1 else self._body[0]
                self._body.clear()
        self._in_head = True
        self._begun = False
        if self._chunks:
            self._wire = self._body_bytes = self._chunks = 0

    def _flush_body(self, head: Any) -> None:
        """A message that goes on after this call: what is here of its body follows its head as events."""
        self._head = None
        if head is not None and self._body:
            at = self._events.index(head) + 1
            self._events[at:at] = self._body
        self._body.clear()

    def _plain_body(self, data: bytes, events: list[Any]) -> bytes:
        """Take from `data` what belongs to the body of a plain message; gives the rest."""
        remaining = self._remaining
        size = len(data)
        if size < remaining:
            self._remaining = remaining - size
            events.append(data)
            return b""
        self._remaining = 0
        events.append(data if size == remaining else data[:remaining])
        events.append(End())
        return data[remaining:]

    def _plain_rest(self, head: Any, data: bytes, start: int, events: list[Any]) -> bytes:
        """Take the body of a plain message, or what is here of it; gives what is behind."""
        events.append(head)
        length = head.content_length
        if not length:
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
        return b""

    def _unfinished(self, size: int) -> None:
        """After a call that left a message unfinished: the bounds that need the number of bytes."""
        if self._head is not None:
            self._flush_body(self._head)
        if self._in_head:
            raw = self._raw
            if self._events:  # the call began with the end of another message
                self._raw = raw = raw[raw.rfind(b"\r\n\r\n") + 4 :]
            if len(raw) > self._limit:
                raise CodecError(431, "http1.headers_too_large", f"more than {self._limit} bytes of headers")
            return
        self._raw = b""
        if self._chunks:
            self._wire += size
            h1_rules.check_chunk_overhead(self._wire - self._body_bytes, self._chunks, self._pairs, self._options)


class H1RequestDecoder(_Decoder):
    """Reads requests (see `http.codec.RequestDecoder`)."""

    __slots__ = ("_closing", "_target")

    def __init__(self, options: CodecOptions) -> None:
        super().__init__(options)
        self._parser = self._new_parser()
        self._target = b""
        self._closing = False

    def receive(self, data: bytes) -> list[RequestEvent]:
        events: list[RequestEvent] = []
        if not self._begun and self._fault is None and not self._options.lenient:
            if self._remaining:
                data = self._plain_body(data, events)
            while data:
                rest = self._plain(data, events)
                if rest is None:
                    break
                data = rest
            if not data or self._closing:
                return events
        return self._by_llhttp(data, events)

    def _plain(self, data: bytes, events: list[RequestEvent]) -> bytes | None:
        """Read one message the short way; gives what is behind it, or None where llhttp has to do it."""
        end = data.find(b"\r\n\r\n")
        if end < 0 or end + 4 > self._limit:
            return None
        lines = iter(data[:end].split(b"\r\n"))
        try:
            method, target = _REQUEST_LINE(next(lines))
            headers = Headers(list(map(_FIELD, lines)))
        except NotPlain:
            return None
        pairs, index = headers.pairs, headers.index
        if not index.keys().isdisjoint(_NOT_PLAIN) or len(pairs) > self._options.limits.header_count:
            return None
        head = RequestHead()
        head.method = method
        head.target = target
        head.headers = headers
        head.size = end + 4
        if b"connection" in index:
            persistent = _PERSISTENT.get(index[b"connection"])
            if persistent is None:
                return None
            if not persistent:
                head.keep_alive = False
                self._closing = True
        length = index.get(b"content-length")
        if length is not None:
            if not length.isdigit() or (length[0] == 0x30 and len(length) > 1) or len(length) > 18:
                return None
            head.content_length = int(length)
        host = index.pop(b"host", None)
        if host is not None:
            head.host = host
            pairs.remove((b"host", host))
        if len(index) != len(pairs) and not _repeats_fairly(pairs):
            return None
        if length is None:
            events.append(head)
            head.ended = True
            return data[end + 4 :]
        return self._plain_rest(head, data, end + 4, events)

    def _by_llhttp(self, data: bytes, events: list[RequestEvent]) -> list[RequestEvent]:
        self._events = events
        if self._in_head:
            self._raw = self._raw + data if self._raw else data
        try:
            self._feed(data)
            if self._fault is not None:
                raise self._fault
            if self._begun:
                self._unfinished(len(data))
            else:
                self._raw = b""
        except CodecError as error:
            self._head = None
            events.append(error)
        except httptools.HttpParserError as error:
            if not self._closing:
                self._flush_body(self._head)
                events.append(h1_rules.explain_request(error, self._fault, self._raw, self._pairs, self._options))
        return events

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            # llhttp stops behind a message that asks for an upgrade. Whether there is one is not the parser's
            # decision: read on as HTTP. For CONNECT the rest belongs to the tunnel.
            self._parser = self._new_parser()
            rest = data[stop.args[0] :]
            if not rest:
                return
            if self._events and self._events[-1].method == b"CONNECT":
                self._events.append(rest)
            else:
                self._raw = rest
                self._feed(rest)

    def _new_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        if self._options.lenient:
            parser.set_dangerous_leniencies(lenient_headers=False, lenient_optional_cr_before_lf=True)
        return parser

    def on_url(self, url: bytes) -> None:
        self._target = self._target + url if self._target else url

    def on_headers_complete(self) -> None:
        head = RequestHead()
        parser = self._parser
        head.method = parser.get_method()
        head.target, self._target = self._target, b""
        head.version = version = "HTTP/1.1" if parser.get_http_version() == "1.1" else "HTTP/1.0"
        head.headers = headers = Headers(self._pairs)
        self._pairs = []
        head.keep_alive = parser.should_keep_alive()
        head.upgrade = parser.should_upgrade()
        head.size = len(self._raw)
        self._closing = not head.keep_alive
        try:
            h1_rules.check_request(head, headers, version, self._raw, self._options)
        except CodecError as error:
            self._fault = self._fault or error
            return
        if self._fault is None:
            self._in_head = False
            self._head = head
            self._events.append(head)

    def on_message_complete(self) -> None:
        if self._fault is None:
            self._complete()


class H1ResponseDecoder(_Decoder):
    """Reads responses (see `http.codec.ResponseDecoder`)."""

    __slots__ = ("_bodyless", "_expected", "_until_close")

    def __init__(self, options: CodecOptions) -> None:
        super().__init__(options)
        self._parser = httptools.HttpResponseParser(self)
        self._expected: list[bytes] = []
        self._bodyless = False
        self._until_close = False

    def expect(self, method: bytes) -> None:
        self._expected.append(method)

    def receive(self, data: bytes) -> list[ResponseEvent]:
        events: list[ResponseEvent] = []
        if not self._begun and self._fault is None and not self._options.lenient:
            if self._remaining:
                data = self._plain_body(data, events)
            if data:
                rest = self._plain(data, events)
                if rest is not None:
                    data = rest
            if not data:
                return events
        return self._by_llhttp(data, events)

    def _plain(self, data: bytes, events: list[ResponseEvent]) -> bytes | None:
        """Read one response the short way; gives what is behind it, or None where llhttp has to do it."""
        end = data.find(b"\r\n\r\n")
        if end < 0 or end + 4 > self._limit or not self._expected:
            return None
        lines = iter(data[:end].split(b"\r\n"))
        try:
            status = _STATUS_LINE(next(lines))
            headers = Headers(list(map(_FIELD, lines)))
        except NotPlain:
            return None
        pairs, index = headers.pairs, headers.index
        bodiless = status in _BODILESS or self._expected[0] == b"HEAD"
        length = index.get(b"content-length")
        if (
            not index.keys().isdisjoint(_NOT_PLAIN)
            or len(pairs) > self._options.limits.header_count
            or (length is None and not bodiless)
            or (len(index) != len(pairs) and not _repeats_fairly(pairs))
        ):
            return None
        head = ResponseHead()
        head.status = status
        head.headers = headers
        head.size = end + 4
        if b"connection" in index:
            persistent = _PERSISTENT.get(index[b"connection"])
            if persistent is None:
                return None
            head.keep_alive = persistent
        if length is not None:
            if not length.isdigit() or (length[0] == 0x30 and len(length) > 1) or len(length) > 18:
                return None
            head.content_length = int(length)
        del self._expected[0]
        if bodiless:
            head.ended = True
            events.append(head)
            return data[end + 4 :]
        return self._plain_rest(head, data, end + 4, events)

    def _by_llhttp(self, data: bytes, events: list[ResponseEvent]) -> list[ResponseEvent]:
        self._events = events
        if self._in_head:
            self._raw = self._raw + data if self._raw else data
        try:
            self._parser.feed_data(data)
            if self._fault is not None:
                raise self._fault
            if self._begun:
                self._unfinished(len(data))
            else:
                self._raw = b""
        except CodecError as error:
            self._head = None
            events.append(error)
        except httptools.HttpParserUpgrade:
            events.append(CodecError(502, "http1.codec_error", "101 Switching Protocols was not asked for"))
        except httptools.HttpParserError as error:
            self._flush_body(self._head)
            if self._bodyless:
                self._end_bodyless()
            else:
                events.append(self._fault or CodecError(502, "http1.codec_error", str(error)))
        else:
            if self._bodyless:
                self._end_bodyless()
        return events

    def receive_eof(self) -> list[ResponseEvent]:
        if self._until_close and not self._in_head:
            self._in_head = True
            self._begun = False
            return [End()]
        if self._begun or self._remaining:
            return [CodecError(502, "http1.codec_error", "the connection was closed in the middle of a message")]
        return []

    def on_headers_complete(self) -> None:
        head = ResponseHead()
        head.status = status = self._parser.get_status_code()
        head.version = version = "HTTP/1.1" if self._parser.get_http_version() == "1.1" else "HTTP/1.0"
        head.headers = headers = Headers(self._pairs)
        self._pairs = []
        head.keep_alive = self._parser.should_keep_alive()
        head.size = len(self._raw)
        informational = 100 <= status < 200
        method = b"" if informational or not self._expected else self._expected.pop(0)
        try:
            h1_rules.check_response(head, headers, version, self._options)
        except CodecError as error:
            self._fault = self._fault or error
            return
        self._in_head = False
        self._events.append(head)
        if method == b"HEAD" and status not in (204, 304):
            # llhttp cannot be told that there is no body: end it here and start a new parser after this call.
            self._bodyless = True
            head.ended = True
            return
        self._head = head
        self._until_close = not (
            informational or status in (204, 304) or head.chunked or head.content_length is not None
        )

    def on_body(self, chunk: bytes) -> None:
        if self._bodyless:
            self._fault = CodecError(502, "http1.codec_error", "a response to HEAD had a body")
        else:
            super().on_body(chunk)

    def on_message_complete(self) -> None:
        if self._fault is None and not self._bodyless:
            self._complete()

    def _end_bodyless(self) -> None:
        self._bodyless = False
        self._in_head = True
        self._begun = False
        self._raw = b""
        self._parser = httptools.HttpResponseParser(self)
