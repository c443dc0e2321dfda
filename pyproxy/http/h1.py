"""HTTP/1.1 decoders on llhttp (httptools): the fast engine. `http.h1_py` is the pure twin on h11.

llhttp checks most of RFC 9112; what it lets pass and we do not is checked here (`http.h1_rules`). The methods
named `on_*` are httptools' callbacks: they must not raise, so they write down what is wrong in `_fault`.
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
from pyproxy.http.message import Headers, Pair

ENGINE = "httptools"


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
        self._events = events = []
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
        head.body = b""
        head.ended = False
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
        self._events = events = []
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
        if self._begun:
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
        head.body = b""
        head.ended = False
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
