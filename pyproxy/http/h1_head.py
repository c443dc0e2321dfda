"""The head of one HTTP/1 message, read by llhttp (httptools) and by our own strict lines at once.

llhttp sees the bytes as they come and refuses what is wrong at the first byte of it. When the head is complete its
lines are taken apart here. Both must find it in order and both must find its end in the same place; the body is
not llhttp's, so an upgrade, a length or a coding cannot make it stop or read on where we do not.
"""

from __future__ import annotations

import re
from typing import Any, Final

import httptools

from pyproxy.http import h1_rules
from pyproxy.http.codec import CodecError, CodecOptions, RequestHead, ResponseHead
from pyproxy.http.h1_lines import FIELD, NotPlain
from pyproxy.http.h1_tables import FIELDS
from pyproxy.http.message import Headers, Pair

_HEAD_END: Final = b"\r\n\r\n"
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])")
_STATUS_LINE: Final = re.compile(rb"HTTP/(1\.[01]) ([0-9]{3})(?: [\t\x20-\x7e\x80-\xff]*)?")
_VERSIONS: Final = {b"1.1": "HTTP/1.1", b"1.0": "HTTP/1.0"}


class HeadReader:
    """Collects a head until it is complete, and has llhttp look at each byte of it."""

    __slots__ = ("_agreed", "_parser", "limit", "raw")

    def __init__(self, options: CodecOptions, *, of_request: bool) -> None:
        self._agreed = False
        self._parser: Any = httptools.HttpRequestParser(self) if of_request else httptools.HttpResponseParser(self)
        self.limit = options.limits.headers_kb * 1024
        self.raw = b""
        """What has come of the head: all of it once it is complete, start line to empty line."""

    def on_headers_complete(self) -> None:
        """Called by llhttp."""
        self._agreed = True

    def feed(self, data: bytes) -> bytes | None:
        """Gives what is behind the head, or None if the head goes on. Raises HttpParserError."""
        before = self.raw
        raw = before + data if before else data
        end = raw.find(_HEAD_END, max(0, len(before) - len(_HEAD_END) + 1))
        rest: bytes | None = None
        if end >= 0:
            end += len(_HEAD_END)
            rest = raw[end:]
            raw = raw[:end]
            data = raw[len(before) :]
        self.raw = raw
        try:  # noqa: SIM105  suppress() is slower
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # whether there is one is not the parser's decision
        if self._agreed != (rest is not None):
            raise httptools.HttpParserError("the end of the head is not where it seems to be")
        if self._agreed:
            self._parser = None  # it refers to us
        return rest


def _fields(lines: list[bytes]) -> list[Pair]:
    """The fields of a head without its start line and its end."""
    try:
        return list(map(FIELDS.__getitem__, lines))
    except NotPlain:
        pairs = []
        for line in lines:
            found = FIELD.fullmatch(line)
            if found is None:
                raise httptools.HttpParserError("a malformed field line") from None
            pairs.append((found[1].lower(), found[2].rstrip(b" \t")))
        return pairs


def request_head(raw: bytes, options: CodecOptions) -> RequestHead:
    """What the bytes of a complete head mean. Raises CodecError or HttpParserError."""
    lines = raw[: -len(_HEAD_END)].split(b"\r\n")
    found = _REQUEST_LINE.fullmatch(lines[0])
    if found is None:
        raise httptools.HttpParserError("a malformed request line")
    version = _VERSIONS.get(found[3])
    if version is None:
        raise httptools.HttpParserError("an unknown version")
    head = RequestHead()
    head.method = found[1]
    head.target = found[2]
    head.version = version
    head.headers = Headers(_fields(lines[1:]))
    head.size = len(raw)
    h1_rules.check_request(head, options)
    return head


def response_head(raw: bytes, options: CodecOptions) -> ResponseHead:
    """What the bytes of a complete head mean. Raises CodecError or HttpParserError."""
    lines = raw[: -len(_HEAD_END)].split(b"\r\n")
    found = _STATUS_LINE.fullmatch(lines[0])
    if found is None:
        raise httptools.HttpParserError("a malformed status line")
    head = ResponseHead()
    head.status = int(found[2])
    head.version = _VERSIONS[found[1]]
    head.headers = Headers(_fields(lines[1:]))
    head.size = len(raw)
    h1_rules.check_response(head, options)
    return head


_START: Final = re.compile(rb"([^ \r\n]*) [^ \r\n]* HTTP/([0-9]\.[0-9])")
_VERSIONLESS: Final = re.compile(rb"[A-Z\-]+ /[\x21-\x7e]*\r\n")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def explain_request(error: Exception, raw: bytes) -> CodecError:
    """Why the head of a request was refused, with the status and Envoy's details that say so best."""
    start = _START.match(raw)
    if start is not None and start[2] != b"1.1" and start[2] != b"1.0" and start[1] != b"PRI":
        return CodecError(426, "low_version", f"HTTP/{start[2].decode()} is not supported")
    if _VERSIONLESS.match(raw):
        return CodecError(426, "low_version", "HTTP/0.9 is not supported")
    if b" " in raw.partition(b"\r\n")[0] and _CONTROL.search(raw):
        return CodecError(400, "http1.invalid_characters", str(error))
    return _explain_framing(raw) or CodecError(400, "http1.codec_error", str(error) or type(error).__name__)


def _explain_framing(raw: bytes) -> CodecError | None:
    """What is wrong with the framing, if that is all that is wrong. The last line may be incomplete."""
    codings: list[bytes] = []
    has_length = False
    lines = raw.split(b"\r\n")
    last = lines.pop()
    for line in lines[1:]:
        found = FIELD.fullmatch(line)
        if found is None:
            if line:
                return None
            break
        name = found[1].lower()
        has_length = has_length or name == b"content-length"
        if name == b"transfer-encoding":
            codings.append(found[2].rstrip(b" \t").lower())
    name, colon, _ = last.lower().partition(b":")
    has_coding = bool(codings) or (bool(colon) and name == b"transfer-encoding")
    has_length = has_length or (bool(colon) and name == b"content-length")
    if last[:1] in (b" ", b"\t"):
        return None  # a folded line
    if codings and codings != [b"chunked"]:
        return CodecError(501, "http1.invalid_transfer_encoding", "a transfer coding other than chunked")
    if has_coding and has_length:
        return CodecError(400, "http1.content_length_and_chunked_not_allowed", "Content-Length with Transfer-Encoding")
    return None
