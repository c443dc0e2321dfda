"""What every HTTP codec gives: bytes in, events out. No sockets, no clock.

An HTTP/1 codec reads one direction of one connection. `receive` returns what the bytes meant, in order:

    RequestHead | ResponseHead      a message begins
    bytes                           a piece of its body
    End                             the message is over (with its trailers, if any)
    CodecError                      the peer broke the protocol; nothing more will come

A head whose message ends in the same `receive` call carries the whole body (`body`) and `ended` is True: then no
`bytes` and no `End` follow for it. This makes the common small message a single event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pyproxy.http.body import Trailers
from pyproxy.http.message import Headers


@dataclass(frozen=True, slots=True)
class CodecLimits:
    """What a peer may send (Envoy defaults). Violations are a CodecError 431 for requests, 502 for responses.

    `headers_kb` bounds request line plus header block in KiB, and the trailers; `header_count` the fields in each.
    """

    headers_kb: int = 60
    header_count: int = 100
    chunk_extension_bytes: int = 16 * 1024
    """All chunk extensions of one message together (CVE-2024-22019)."""


@dataclass(frozen=True, slots=True)
class CodecOptions:
    """How strictly to read. The defaults are strict; each relaxation has a name.

    `allow_http10` lets HTTP/1.0 requests in (Envoy: `accept_http_10`), otherwise they are a CodecError 426.
    `allow_absolute_url` honours absolute-form request targets (Envoy's default since 1.1).
    `allow_custom_methods` lets any token be a method.
    `lenient` accepts what RFC 9112 lets a recipient accept: obs-fold (joined by SP), bare LF line ends.
    `keep_trailers` gives trailers on; otherwise they are checked and dropped (Envoy: `enable_trailers`).
    `allow_chunked_length` takes a Content-Length beside Transfer-Encoding away instead of refusing the request.
    """

    allow_http10: bool = False
    allow_absolute_url: bool = True
    allow_custom_methods: bool = False
    lenient: bool = False
    keep_trailers: bool = False
    limits: CodecLimits = CodecLimits()
    allow_chunked_length: bool = False


class CodecError(Exception):
    """The peer broke the protocol.

    `status` is the HTTP status of the answer if the peer is downstream; `details` Envoy's response-code details
    (`http1.codec_error`, `http1.headers_too_large`, `low_version`, ...).
    """

    def __init__(self, status: int, details: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.details = details
        self.reason = reason

    def __repr__(self) -> str:
        return f"<CodecError {self.status} {self.details}: {self}>"


class RequestHead:
    """The head of a request.

    `target` is the path and query, or `*`, or for CONNECT the authority. `host` is what Host (or the absolute
    URI) said; None where there was none. `headers` has no Host. Framing headers (content-length,
    transfer-encoding) stay in `headers`; `content_length` and `chunked` say what they mean.

    What most requests have in common are class attributes, so that making one is cheap. (Compiled classes have no
    default of None, so those are set.)
    """

    method: bytes
    target: bytes
    host: bytes | None
    protocol: bytes | None
    """Of an extended CONNECT (RFC 8441)."""
    scheme: bytes | None
    """From an absolute URI; None where the target was not one."""
    version: str = "HTTP/1.1"
    """`HTTP/2`, `HTTP/1.1` or `HTTP/1.0`."""
    headers: Headers
    content_length: int | None
    chunked: bool = False
    keep_alive: bool = True
    upgrade: bool = False
    expect_continue: bool = False
    size: int = 0
    """Bytes of the head as received, with the empty lines before it."""
    framing: int = 0
    """Those of the framing of a chunked body that is here with it (see `End`)."""
    surplus: int = 0
    """Bytes of fields beyond those of `headers` and `host`: of what was taken away, of a Host that an absolute URI
    replaced (below 0 where that is longer)."""
    body: bytes = b""
    ended: bool = False

    def __init__(self) -> None:
        self.host = None
        self.scheme = None
        self.protocol = None
        self.content_length = None


class ResponseHead:
    """The head of a response. Informational responses (1xx but 101) are heads of their own, always `ended`."""

    status: int
    version: str = "HTTP/1.1"
    headers: Headers
    content_length: int | None
    chunked: bool = False
    keep_alive: bool = True
    """The connection can carry another message after this one (RFC 9112 9.3)."""
    size: int = 0
    framing: int = 0
    body: bytes = b""
    ended: bool = False

    def __init__(self) -> None:
        self.content_length = None


class End:
    """The end of a message whose head came in an earlier call."""

    __slots__ = ("framing", "trailers")

    def __init__(self, trailers: Trailers | None = None, framing: int = 0) -> None:
        self.trailers = trailers
        self.framing = framing
        """Bytes of the message that were neither head nor data: sizes of chunks, trailers, line ends."""

    def __repr__(self) -> str:
        return f"End({self.trailers!r})"


RequestEvent = RequestHead | bytes | End | CodecError
ResponseEvent = ResponseHead | bytes | End | CodecError


class RequestDecoder(Protocol):
    """Reads what a downstream sends."""

    def receive(self, data: bytes) -> list[RequestEvent]: ...


class ResponseDecoder(Protocol):
    """Reads what an upstream sends. It must be told of each request first: the answer to HEAD has no body."""

    def expect(self, method: bytes) -> None:
        """A request with this method was sent; its response is the next to come."""

    def receive(self, data: bytes) -> list[ResponseEvent]: ...

    def receive_eof(self) -> list[ResponseEvent]:
        """The upstream closed: the end of a body that only the close delimits, an error in the middle of a message."""
