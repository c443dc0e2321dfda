"""llhttp's own test vectors, given to both engines. Where we mean to differ, the vector is listed with the reason."""

from __future__ import annotations

import pytest

from pyproxy.http.codec import CodecOptions
from tests.http.h1_playbook import ENGINE_IDS, ENGINES, Engine, Message, Reading, read_requests, read_responses
from tests.http.llhttp_vectors import Expected, Vector, directory, vectors

OPTIONS = CodecOptions(allow_http10=True, keep_trailers=True)
ROOT = directory()
VECTORS = {vector.name: vector for vector in vectors(ROOT)} if ROOT else {}

LENIENT = "a leniency that we do not have"
IGNORED = "bytes behind the last request are ignored (RFC 9112 9.6), llhttp leaves that to its user"
UPGRADE = "llhttp stops at an upgrade, we read on: whether there is one is decided by the answer"
TUNNEL = "bytes behind CONNECT are the tunnel's"
WAITS = "refused at once, or when the head is complete"
OTHER_PROTOCOL = "RTSP, ICE and HTTP/0.9 are not HTTP/1.1"
CODING = "a transfer coding that we would have to undo"
ZEROS = "Content-Length with leading zeros"
USER = "user information, a fragment or a zone in the authority"
EMPTY_LINE = "empty lines before a response (RFC 9112 2.2 allows them before a request only)"

# name -> (complete messages, whether there is an error or None where either is right, why)
DIFFERENT: dict[str, tuple[int, bool | None, str]] = {
    "request/connection: No restart when keep-alive is off (1.0)": (1, False, IGNORED),
    "request/connection: CRLF between requests, explicit `close`": (1, False, IGNORED),
    "request/connection: CRLF between requests, explicit `close` followed by tab": (1, False, IGNORED),
    "request/connection: Setting a flag and pausing": (1, False, UPGRADE),
    "request/connection: Emitting part of body and pausing": (1, None, UPGRADE),
    "request/content-length: `Content-Length` with zeroes": (0, True, ZEROS),
    "request/content-length: `Content-Length` with follow-up headers": (0, True, ZEROS),
    "request/content-length: Error on `Content-Length` overflow": (0, None, WAITS),
    "request/content-length: Error on duplicate `Content-Length`": (0, None, WAITS),
    "request/content-length: Content-Length reset when no body is received": (0, None, "we do not skip bodies"),
    "request/invalid: Invalid HTTP version": (0, None, WAITS),
    "request/method: CONNECT request": (1, False, TUNNEL),
    "request/method: CONNECT request with CAPS": (1, False, TUNNEL),
    "request/method: CONNECT with body": (1, False, TUNNEL),
    "request/method: M-SEARCH request": (0, True, "only OPTIONS may ask for *"),
    "request/method: SOURCE request with ICE": (0, True, OTHER_PROTOCOL),
    "request/method: OPTIONS request with RTSP": (0, True, OTHER_PROTOCOL),
    "request/method: ANNOUNCE request with RTSP": (0, True, OTHER_PROTOCOL),
    "request/sample: No HTTP version": (0, True, OTHER_PROTOCOL),
    "request/transfer-encoding: POST with `chunked` as last transfer-encoding": (0, True, CODING),
    "request/transfer-encoding: POST with `chunked` as last transfer-encoding (multiple headers)": (0, True, CODING),
    "request/uri: Underscore in hostname": (1, False, TUNNEL),
    "request/uri: `host:port` and basic auth": (0, True, USER),
    "response/connection: HTTP 304 with Content-Length": (1, True, EMPTY_LINE),
    "response/connection: HTTP 100 first, then 400": (1, True, EMPTY_LINE),
    "response/pipelining: Should parse multiple events": (1, True, EMPTY_LINE),
    "response/sample: Response starting with CRLF": (0, True, EMPTY_LINE),
    "response/connection: HTTP 101 response with Upgrade and Content-Length header": (0, True, "101 was not asked for"),
    "response/connection: HTTP 101 response with Upgrade and Transfer-Encoding header": (
        0,
        True,
        "101 was not asked for",
    ),
    "response/finish: It should be safe to finish with cb after empty response": (1, False, "the close ends the body"),
    "response/sample: RTSP response": (0, True, OTHER_PROTOCOL),
    "response/sample: ICE response": (0, True, OTHER_PROTOCOL),
    "response/sample: HTTP version 0.9": (0, True, OTHER_PROTOCOL),
    "response/transfer-encoding: `chunked` before other transfer-encoding": (0, True, CODING),
    "response/transfer-encoding: multiple transfer-encoding where chunked is not the last one": (0, True, CODING),
    "response/transfer-encoding: `chunkedchunked` transfer-encoding does not enable chunked enconding": (
        0,
        True,
        CODING,
    ),
    "url: Absolute URL": (0, True, USER),
    "url: Complex URL fragment": (0, True, USER),
    "url: Complex URL from node.js url parser doc": (0, True, USER),
    "url: Complex URL with basic auth from node.js url parser doc": (0, True, USER),
    "url: Proxy basic auth with url encoded space": (0, True, USER),
    "url: Proxy basic auth with unreserved chars": (0, True, USER),
    "url: IPv6 address with Zone ID": (0, True, USER),
    "url: IPv6 address with Zone ID, but `%` is not percent-encoded": (0, True, USER),
}
LENIENT_ONLY = """
request/connection: Multiple tokens with folding
request/connection: Multiple tokens with folding, LWS, and CRLF
request/connection: Invalid whitespace token with `Connection` header field (lenient)
request/content-length: Invalid whitespace token with `Content-Length` header field (lenient)
request/content-length: No error on simultaneous `Content-Length` and `Transfer-Encoding: identity` (lenient)
request/content-length: Missing CRLF-CRLF before body (lenient)
request/invalid: Headers separated by dummy characters (lenient)
request/invalid: Only LFs present (lenient)
request/invalid: Spaces before headers (lenient)
request/lenient-header-value-relaxed: Control char in header value (relaxed)
request/lenient-headers: Header value (lenient)
request/lenient-headers: Empty headers separated by CR (lenient)
request/lenient-version: Invalid HTTP version (lenient)
request/sample: Line folding in header value with CRLF
request/sample: No LF after CR (lenient)
request/sample: X-SSL-Nonsense
request/transfer-encoding: POST with `Transfer-Encoding` and `Content-Length` (lenient)
request/transfer-encoding: POST with `chunked` before other transfer-coding (lenient)
request/transfer-encoding: POST with `chunked` and duplicate transfer-encoding (lenient)
request/transfer-encoding: Chunk header not terminated by CRLF (lenient)
request/transfer-encoding: Chunk data not terminated by CRLF (lenient)
request/transfer-encoding: Space after chunk header (lenient)
response/invalid: Bare CR after response line (lenient)
response/invalid: Only LFs present and no body (lenient)
response/invalid: Only LFs present (lenient)
response/lenient-version: Invalid HTTP version (lenient)
response/sample: No carriage ret (lenient)
response/transfer-encoding: Invalid OBS fold after chunked value
"""
DIFFERENT |= dict.fromkeys(LENIENT_ONLY.strip().splitlines(), (0, True, LENIENT))
DIFFERENT |= {
    "request/lenient-headers: Second request header value (lenient)": (1, True, LENIENT),
    "response/connection: HTTP/1.1 with keep-alive disabled, content-length (lenient)": (1, True, LENIENT),
    "response/connection: HTTP/1.1 with keep-alive disabled and 204 status (lenient)": (1, True, LENIENT),
}

needs_corpus = pytest.mark.skipif(ROOT is None, reason="PYPROXY_CORPORA does not name a directory with llhttp/ in it")


def read(engine: Engine, vector: Vector, pieces: list[bytes]) -> Reading:
    if not vector.kind.startswith("response"):
        return read_requests(engine, pieces, OPTIONS)
    method = b"HEAD" if vector.skip_body else b"GET"
    return read_responses(engine, pieces, OPTIONS, [method] * 9, eof=vector.kind.endswith("finish"))


def readings(engine: Engine, vector: Vector) -> list[Reading]:
    """Whole and byte by byte; a URL stands in the request line of a request."""
    data = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % vector.data if vector.kind == "url" else vector.data
    return [read(engine, vector, pieces) for pieces in ([data], [data[i : i + 1] for i in range(len(data))])]


def same(message: Message, expected: Expected) -> bool:
    """The same start line, fields and body. An absolute URL was taken apart and Host taken out."""
    host = (b"host",) if "method" in message.head else ()
    fields = [(name.lower(), value.rstrip(b" \t")) for name, value in expected.headers]
    url = expected.start.get("url", b"")
    return (
        message.body == expected.body
        and message.head.get("method", b"") == expected.start.get("method", b"")
        and (not url.startswith(b"/") or message.head["target"] == url)
        and message.headers == [(name, value) for name, value in fields if name not in host][: len(message.headers)]
    )


@needs_corpus
@pytest.mark.parametrize("engine", ENGINES, ids=ENGINE_IDS)
@pytest.mark.parametrize("name", VECTORS)
def test_vector(engine: Engine, name: str) -> None:
    vector = VECTORS[name]
    expected = [message for message in vector.messages if message.complete]
    complete, error, why = DIFFERENT.get(name, (len(expected), vector.error, ""))
    for reading in readings(engine, vector):
        if vector.kind == "url":
            assert (reading.error is not None) == error
            continue
        assert len(reading.complete) == complete
        assert error is None or (reading.error is not None) == error
        if not why:
            assert all(map(same, reading.complete, expected))


@needs_corpus
def test_all_differences_are_vectors() -> None:
    assert DIFFERENT.keys() <= VECTORS.keys()
    assert len(VECTORS) >= 255
