"""Rules of HTTP/1.1 that hold whatever engine did the parsing (RFC 9110, RFC 9112; Envoy's limits and details)."""

from __future__ import annotations

import re
from typing import Final

from pyproxy.http.codec import CodecError, CodecOptions, RequestHead, ResponseHead
from pyproxy.http.h1_lines import is_authority
from pyproxy.http.message import Headers, Pair

# RFC 9112 3.2.1 origin-form, and what may follow it; the engines have checked the characters.
_ABSOLUTE: Final = re.compile(rb"(?i)(https?)://([^/?#]*)([^#]*)\Z")
_OTHER_SCHEME: Final = re.compile(rb"(?!https?:)[A-Za-z][A-Za-z0-9+.\-]*://", re.IGNORECASE)
_PORT: Final = re.compile(rb".+:\d+")

# RFC 9110 6.5.1: fields that make sense only in the head must not be taken from trailers.
_NOT_IN_TRAILERS: Final = frozenset(
    (b"content-length", b"transfer-encoding", b"host", b"connection", b"trailer", b"te", b"upgrade")
)

_MOST_DIGITS: Final = 18
"""Of Content-Length, so that it fits in 64 bits."""


def check_request(head: RequestHead, options: CodecOptions) -> None:
    """Fill in what the head means and reject what must not be forwarded. Raises CodecError."""
    headers = head.headers
    index = headers.index
    if head.version != "HTTP/1.1" and not options.allow_http10:
        raise CodecError(426, "low_version", f"{head.version} is not enabled (accept_http_10)")
    limits = options.limits
    if head.size > limits.headers_kb * 1024:
        raise too_large(431, options)
    if len(headers.pairs) > limits.header_count:
        raise CodecError(431, "http1.too_many_headers", f"more than {limits.header_count} header fields")
    if options.allow_chunked_length and b"transfer-encoding" in index:
        before = headers.size()
        headers.remove(b"content-length")
        head.surplus = before - headers.size()
    _check_framing(head, headers, 400, 501)
    if head.chunked and head.version != "HTTP/1.1":
        raise CodecError(400, "http1.transfer_encoding_not_allowed", "Transfer-Encoding in an HTTP/1.0 request")
    tokens = _connection_tokens(headers)
    head.keep_alive = _keeps_alive(tokens, head.version)
    head.upgrade = head.method == b"CONNECT" or (b"upgrade" in tokens and b"upgrade" in index)
    head.expect_continue = b"expect" in index and index[b"expect"].lower() == b"100-continue"
    head.host = host = index.pop(b"host", None)
    if host is not None:
        _take_host(headers)
        if not is_authority(host):
            raise CodecError(400, "http.invalid_authority", "Host is not a valid authority")
    if head.target[:1] != b"/" or head.method == b"CONNECT":
        _take_target(head, options)


def too_large(status: int, options: CodecOptions) -> CodecError:
    return CodecError(status, "http1.headers_too_large", f"more than {options.limits.headers_kb} KiB of headers")


def _connection_tokens(headers: Headers) -> set[bytes]:
    """The options of Connection, and of Proxy-Connection, which Envoy honours too."""
    if b"connection" not in headers.index and b"proxy-connection" not in headers.index:
        return set()
    values = headers.get_all(b"connection") + headers.get_all(b"proxy-connection")
    return {token.strip(b" \t").lower() for value in values for token in value.split(b",")}


def _keeps_alive(tokens: set[bytes], version: str) -> bool:
    """RFC 9112 9.3."""
    return b"close" not in tokens and (version == "HTTP/1.1" or b"keep-alive" in tokens)


def _take_host(headers: Headers) -> None:
    """Host is an attribute, not a header; two of them are an attack (RFC 9112 3.2)."""
    pairs = headers.pairs
    others = [pair for pair in pairs if pair[0] != b"host"]
    if len(others) + 1 < len(pairs):
        raise CodecError(400, "http1.codec_error", "more than one Host")
    headers.pairs = others


def _take_target(head: RequestHead, options: CodecOptions) -> None:
    """Absolute-form, asterisk-form and authority-form (RFC 9112 3.2.2 to 3.2.4)."""
    target = head.target
    if head.method == b"CONNECT":
        if not is_authority(target) or not _PORT.fullmatch(target):
            raise CodecError(400, "http1.invalid_url", "CONNECT needs host:port")
        head.host = target
        return
    if target == b"*":
        if head.method == b"OPTIONS":
            return
        raise CodecError(400, "http1.invalid_url", "only OPTIONS may ask for *")
    if _OTHER_SCHEME.match(target):
        raise CodecError(400, "http1.invalid_scheme", "the scheme of the request target is neither http nor https")
    absolute = _ABSOLUTE.match(target)
    if absolute is None or not is_authority(absolute[2]):
        raise CodecError(400, "http1.invalid_url", "the request target is neither a path nor an http URL")
    if not options.allow_absolute_url:
        return  # it is no path, so nothing routes it
    if head.host is not None:
        head.surplus += len(head.host) - len(absolute[2])
    head.scheme = absolute[1].lower()
    head.host = absolute[2]
    head.target = absolute[3] if absolute[3][:1] == b"/" else b"/" + absolute[3]


def _check_framing(head: RequestHead | ResponseHead, headers: Headers, bad_status: int, bad_coding_status: int) -> None:
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
                bad_status, "http1.content_length_and_chunked_not_allowed", "Content-Length with Transfer-Encoding"
            )
        head.chunked = True
    length = index.get(b"content-length")
    if length is not None:
        if not length.isdigit() or (length[0] == 0x30 and len(length) > 1) or len(length) > _MOST_DIGITS:
            raise CodecError(bad_status, "http1.codec_error", "Content-Length is not a plain number")
        if len(index) != len(headers.pairs) and len(headers.get_all(b"content-length")) > 1:
            raise CodecError(bad_status, "http1.codec_error", "more than one Content-Length")
        head.content_length = int(length)


def check_response(head: ResponseHead, options: CodecOptions) -> None:
    """Fill in what the head means and reject what must not be forwarded. Raises CodecError."""
    headers = head.headers
    status = head.status
    if not 100 <= status <= 999 or status == 101:
        raise CodecError(502, "http1.codec_error", f"status {status} is not one that can be forwarded")
    if head.size > options.limits.headers_kb * 1024:
        raise too_large(502, options)
    if len(headers.pairs) > options.limits.header_count:
        raise CodecError(502, "http1.too_many_headers", f"more than {options.limits.header_count} header fields")
    _check_framing(head, headers, 502, 502)
    if head.chunked and head.version != "HTTP/1.1":
        raise CodecError(502, "http1.codec_error", "Transfer-Encoding in an HTTP/1.0 response")
    if (status < 200 or status == 204) and (head.chunked or head.content_length):
        raise CodecError(502, "http1.codec_error", f"a response with status {status} and a body")  # RFC 9112 6.1
    head.keep_alive = _keeps_alive(_connection_tokens(headers), head.version)


def has_no_body(head: ResponseHead, method: bytes) -> bool:
    """Whatever its fields say: RFC 9112 6.3. `method` is that of the request."""
    return head.status < 200 or head.status == 204 or head.status == 304 or method == b"HEAD"


def trailers_to_keep(pairs: list[Pair], options: CodecOptions) -> list[Pair] | None:
    """The trailers to hand on; None where there are none or they are not wanted."""
    if not options.keep_trailers:
        return None
    return [pair for pair in pairs if pair[0] not in _NOT_IN_TRAILERS] or None
