"""Rules of HTTP/1.1 that hold whatever engine did the parsing (RFC 9110, RFC 9112; Envoy's limits and details)."""

from __future__ import annotations

import re

from pyproxy.http.codec import CodecError, CodecOptions, RequestHead, ResponseHead
from pyproxy.http.h1_lines import AUTHORITY
from pyproxy.http.message import Headers, Pair

# RFC 9112 3.2.1 origin-form, and what may follow it; the engines have checked the characters.
_ABSOLUTE = re.compile(rb"(?i)(https?)://([^/?#]*)([^#]*)\Z")
_VERSION = re.compile(rb"[^\r\n]* HTTP/(\d\.\d)\r?\n")
_LOW_VERSIONS = (b"0.9", b"1.0")

# RFC 9110 6.5.1: fields that make sense only in the head must not be taken from trailers.
_NOT_IN_TRAILERS = frozenset(
    (b"content-length", b"transfer-encoding", b"host", b"connection", b"trailer", b"te", b"upgrade")
)

_CHUNK_LINE_BYTES = 20
"""Size line and line ends of one chunk, without extensions."""


def check_request(head: RequestHead, headers: Headers, version: str, raw: bytes, options: CodecOptions) -> None:
    """Fill in what the head means and reject what must not be forwarded. Raises CodecError."""
    index = headers.index
    if version != "HTTP/1.1" and not options.allow_http10:
        raise CodecError(426, "low_version", f"{version} is not enabled (accept_http_10)")
    if len(raw) > options.limits.headers_kb * 1024:
        _check_size(raw, options)
    if len(headers.pairs) > options.limits.header_count:
        raise CodecError(431, "http1.too_many_headers", f"more than {options.limits.header_count} header fields")
    if b"  " in raw or b"\t" in raw:
        _check_request_line(head, raw)
    _check_framing(head, headers, 501)
    if head.chunked and version != "HTTP/1.1":
        raise CodecError(400, "http1.transfer_encoding_not_allowed", "Transfer-Encoding in an HTTP/1.0 request")
    head.host = host = index.pop(b"host", None)
    if host is not None:
        _take_host(headers)
        if not AUTHORITY.match(host):
            raise CodecError(400, "http1.invalid_authority", "Host is not a valid authority")
    head.expect_continue = b"expect" in index and index[b"expect"].lower() == b"100-continue"
    target = head.target
    if target[:1] != b"/":
        _take_target(head, options)


def _take_host(headers: Headers) -> None:
    """Host is an attribute, not a header; two of them are an attack (RFC 9112 3.2)."""
    pairs = headers.pairs
    if pairs[0][0] == b"host":
        del pairs[0]
    else:
        del pairs[next(i for i, pair in enumerate(pairs) if pair[0] == b"host")]
    if len(headers.index) != len(pairs) and any(pair[0] == b"host" for pair in pairs):
        raise CodecError(400, "http1.codec_error", "more than one Host")


def _take_target(head: RequestHead, options: CodecOptions) -> None:
    """Absolute-form, asterisk-form and authority-form (RFC 9112 3.2.2 to 3.2.4)."""
    target = head.target
    if head.method == b"CONNECT":
        if not AUTHORITY.match(target):
            raise CodecError(400, "http1.invalid_url", "CONNECT needs host:port")
        head.host = target
        return
    if target == b"*":
        if head.method == b"OPTIONS":
            return
        raise CodecError(400, "http1.invalid_url", "only OPTIONS may ask for *")
    absolute = _ABSOLUTE.match(target) if options.allow_absolute_url else None
    if absolute is None or not absolute[2] or not AUTHORITY.match(absolute[2]):
        raise CodecError(400, "http1.invalid_url", "the request target is neither a path nor an http URL")
    head.scheme = absolute[1].lower()
    head.host = absolute[2]
    head.target = absolute[3] if absolute[3][:1] == b"/" else b"/" + absolute[3]


def _check_framing(head: RequestHead | ResponseHead, headers: Headers, bad_coding_status: int) -> None:
    """Content-Length and Transfer-Encoding (RFC 9112 6.1 to 6.3)."""
    index = headers.index
    coding = index.get(b"transfer-encoding")
    if coding is not None:
        if coding.lower() != b"chunked" or len(headers.get_all(b"transfer-encoding")) > 1:
            raise CodecError(
                bad_coding_status, "http1.invalid_transfer_encoding", "a transfer coding other than chunked"
            )
        if b"content-length" in index:
            raise CodecError(
                400, "http1.content_length_and_chunked_not_allowed", "Content-Length with Transfer-Encoding"
            )
        head.chunked = True
    length = index.get(b"content-length")
    if length is not None:
        if not length.isdigit() or (length[0] == 0x30 and len(length) > 1) or len(length) > 18:
            raise CodecError(400, "http1.codec_error", "Content-Length is not a plain number")
        if len(headers.index) != len(headers.pairs) and len(headers.get_all(b"content-length")) > 1:
            raise CodecError(400, "http1.codec_error", "more than one Content-Length")
        head.content_length = int(length)


def _check_request_line(head: RequestHead, raw: bytes) -> None:
    """One SP between the parts (RFC 9112 3); llhttp takes several. `raw` may begin before the request."""
    if b"%b %b HTTP/" % (head.method, head.target) not in raw:
        raise CodecError(400, "http1.codec_error", "white space in the request line")


def _check_size(raw: bytes, options: CodecOptions) -> None:
    end = raw.find(b"\r\n\r\n")
    size = end + 4 if end >= 0 else len(raw)
    if size > options.limits.headers_kb * 1024:
        raise CodecError(431, "http1.headers_too_large", f"more than {options.limits.headers_kb} KiB of headers")


def check_response(head: ResponseHead, headers: Headers, version: str, options: CodecOptions) -> None:
    """Fill in what the head means and reject what must not be forwarded. Raises CodecError."""
    status = head.status
    if not 100 <= status <= 999 or status == 101:
        raise CodecError(502, "http1.codec_error", f"status {status} is not one that can be forwarded")
    if head.size > options.limits.headers_kb * 1024:
        size = sum(len(n) + len(v) + 4 for n, v in headers.pairs)
        if size > options.limits.headers_kb * 1024:
            raise CodecError(502, "http1.headers_too_large", f"more than {options.limits.headers_kb} KiB of headers")
    if len(headers.pairs) > options.limits.header_count:
        raise CodecError(502, "http1.too_many_headers", f"more than {options.limits.header_count} header fields")
    _check_framing(head, headers, 502)
    if head.chunked and version != "HTTP/1.1":
        raise CodecError(502, "http1.codec_error", "Transfer-Encoding in an HTTP/1.0 response")


def check_trailers(pairs: list[Pair], options: CodecOptions) -> list[Pair] | None:
    """The trailers to hand on; None where there are none or they are not wanted. Raises CodecError."""
    if len(pairs) > options.limits.header_count:
        raise CodecError(431, "http1.too_many_trailers", f"more than {options.limits.header_count} trailer fields")
    if sum(len(n) + len(v) + 4 for n, v in pairs) > options.limits.headers_kb * 1024:
        raise CodecError(431, "http1.trailers_too_large", f"more than {options.limits.headers_kb} KiB of trailers")
    if not options.keep_trailers:
        return None
    return [pair for pair in pairs if pair[0] not in _NOT_IN_TRAILERS] or None


def check_chunk_overhead(overhead: int, chunks: int, trailers: list[Pair], options: CodecOptions) -> None:
    """Bound what is sent around the data of a chunked body (CVE-2024-22019). Raises CodecError."""
    plain = chunks * _CHUNK_LINE_BYTES + sum(len(n) + len(v) + 4 for n, v in trailers)
    allowed = options.limits.chunk_extension_bytes + options.limits.headers_kb * 1024 * bool(trailers)
    if overhead - plain > allowed:
        raise CodecError(400, "http1.codec_error", "too many bytes of chunk extensions")


def explain_request(
    error: Exception, fault: CodecError | None, raw: bytes, pairs: list[Pair], options: CodecOptions
) -> CodecError:
    """Why the engine gave up, with the status that says so best."""
    if fault is not None:
        return fault
    version = _VERSION.match(raw.lstrip(b"\r\n"))
    if version is not None and version[1] != b"1.1":
        return CodecError(426, "low_version", f"HTTP/{version[1].decode()} is not supported")
    codings = [value.lower() for name, value in pairs if name == b"transfer-encoding"]
    if codings and codings != [b"chunked"]:
        return CodecError(501, "http1.invalid_transfer_encoding", "a transfer coding other than chunked")
    if len(raw) > options.limits.headers_kb * 1024:
        return CodecError(431, "http1.headers_too_large", f"more than {options.limits.headers_kb} KiB of headers")
    return CodecError(400, "http1.codec_error", str(error) or type(error).__name__)
