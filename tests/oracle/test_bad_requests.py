"""Requests that are malformed, ambiguous or too big. pyproxy may be stricter than Envoy, never more lenient.

Where it is stricter the case says so and docs/differences.md tells why.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.oracle.case import Case, Differs, Json, get, request
from tests.oracle.conftest import Pair
from tests.support.downstream import Piece

HEAD = b"GET / HTTP/1.1\r\nHost: $HOST\r\n"
# How far a parser has got in a bad head when it stops differs between parsers.
HALF_READ = ("log.0.downstream_header_bytes_received",)
# How much of a request whose body turns out to be bad has been read and has left already is a matter of timing.
HALF_SENT = (
    "upstream.*",
    "log.0.upstream*",
    "log.0.bytes_received",
    "log.0.downstream_wire_bytes_received",
    "log.0.request*duration",
)
REJECTED = {
    "reply.count": "1",
    "reply.0.start": "HTTP/1.1 400 Bad Request",
    "reply.0.body": "Bad Request",
    "upstream.count": "0",
    "end": "closed",
    "log.0.response_code": "400",
    "log.0.response_flags": '"DPE"',
}
IN_BODY = ("chunks",)
TOO_LARGE = {
    **REJECTED,
    "reply.0.start": "HTTP/1.1 431 Request Header Fields Too Large",
    "reply.0.body": "Request Header Fields Too Large",
    "log.0.response_code": "431",
}
del TOO_LARGE["upstream.count"]


def refused(id: str, data: bytes | Sequence[Piece], status: int = 400, **fields: object) -> Case:  # noqa: A002
    """Both must refuse it in the same way and let nothing through."""
    send = [data] if isinstance(data, bytes) else list(data)
    fields.setdefault("ignore", HALF_READ)
    return Case(id=id, send=send, status=status, methods=["GET"], closes=True, **fields)  # type: ignore[arg-type]


def stricter(id: str, data: bytes, anchor: str) -> Case:  # noqa: A002
    """Envoy lets it through, pyproxy refuses it; nothing of a bad head may reach the upstream."""
    wanted = {k: v for k, v in REJECTED.items() if anchor not in IN_BODY or k != "upstream.count"}
    return Case(id=id, send=[data], status=200, methods=["GET"], differs=Differs(anchor, wanted))


def body(headers: bytes, rest: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: $HOST\r\n" + headers + b"\r\n" + rest


def chunks(rest: bytes) -> bytes:
    return body(b"Transfer-Encoding: chunked\r\n", rest)


LENGTHS = [
    refused("length-and-chunked", body(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")),
    refused("chunked-and-length", body(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n")),
    refused("two-lengths-different", body(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello")),
    refused("two-lengths-same", body(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello")),
    refused("length-list", body(b"Content-Length: 5, 5\r\n", b"hello")),
    *(
        refused(f"length-{name}", body(b"Content-Length: " + value + b"\r\n", b"hello"))
        for name, value in {
            "plus": b"+5",
            "minus": b"-5",
            "hex": b"0x5",
            "underscore": b"1_0",
            "letter": b"5a",
            "fraction": b"5.0",
            "parameter": b"5;",
            "vertical-tab": b"\x0b5",
            "empty": b"",
            "inner-space": b"5 5",
            "too-big": b"18446744073709551616",
        }.items()
    ),
    *(
        refused(f"encoding-{name}", body(b"Transfer-Encoding: " + value + b"\r\n", b"0\r\n\r\n"), 501)
        for name, value in {
            "unknown": b"xchunked",
            "identity": b"identity",
            "gzip-chunked": b"gzip, chunked",
            "chunked-twice": b"chunked, chunked",
            "chunked-identity": b"chunked, identity",
            "quoted": b'"chunked"',
            "parameter": b"chunked;x=1",
            "leading-comma": b",chunked",
            "empty": b"",
        }.items()
    ),
    refused("encoding-vertical-tab-before", body(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n")),
    refused("encoding-vertical-tab-after", body(b"Transfer-Encoding: chunked\x0b\r\n", b"0\r\n\r\n")),
    refused(
        "encoding-two-lines", body(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n"), 501
    ),
    refused("encoding-space-before-colon", body(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n")),
    refused(
        "encoding-in-http10", b"POST / HTTP/1.0\r\nHost: $HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 426
    ),
]

CHUNKS = [
    *(
        refused(f"chunk-size-{name}", chunks(size + b"\r\nhello\r\n0\r\n\r\n"), logs=1, ignore=HALF_SENT)
        for name, size in {
            "hex-prefix": b"0x5",
            "plus": b"+5",
            "minus": b"-5",
            "space-before": b" 5",
            "underscore": b"0_5",
            "empty": b"",
            "letters": b"zz",
            "wraps": b"10000000000000005",
        }.items()
    ),
    refused("chunk-size-ended-by-lf", chunks(b"5\nhello\r\n0\r\n\r\n"), ignore=HALF_SENT),
    refused("chunk-extension-ended-by-lf", chunks(b"5;a\nhello\r\n0\r\n\r\n"), ignore=HALF_SENT),
    Case(id="chunk-size-seventeen-digits", send=[chunks(b"00000000000000005\r\nhello\r\n0\r\n\r\n")], status=200),
    refused("chunk-end-by-lf", chunks(b"5\r\nhello\r\n0\n\n"), ignore=HALF_SENT),
    refused("chunk-bad-trailer", chunks(b"5\r\nhello\r\n0\r\nbad name: 1\r\n\r\n"), ignore=HALF_SENT),
]

HEADERS = [
    *(
        refused(f"header-{name}", HEAD + line + b"\r\n\r\n")
        for name, line in {
            "nul-in-value": b"X: a\x00b",
            "nul-in-name": b"X\x00: a",
            "delete-in-name": b"X\x7f: a",
            "parenthesis-in-name": b"X(: a",
            "quote-in-name": b'X": a',
            "at-in-name": b"X@: a",
            "high-byte-in-name": b"X\xe9: a",
            "space-in-name": b"X y: a",
            "space-before-colon": b"X : a",
            "empty-name": b": a",
            "no-colon": b"nonsense",
        }.items()
    ),
    refused("header-leading-space-first", b"GET / HTTP/1.1\r\n Host: $HOST\r\n\r\n"),
    refused("head-ends-oddly", HEAD + b"\rX: 1\r\n\r\n"),
    refused("connection-names-host", HEAD + b"Connection: Host\r\n\r\n"),
    refused("connection-names-forwarded-for", HEAD + b"Connection: x-forwarded-for\r\nX-Forwarded-For: 1\r\n\r\n"),
    refused("connection-names-forwarded-host", HEAD + b"Connection: x-forwarded-host\r\nX-Forwarded-Host: 1\r\n\r\n"),
    Case(id="connection-names-own", send=[HEAD + b"Connection: X-Secret\r\nX-Secret: 1\r\n\r\n"], status=200),
]

LINES = [
    *(
        refused(f"line-{name}", line + b"\r\nHost: $HOST\r\n\r\n", status)
        for name, (line, status) in {
            "no-method": (b" / HTTP/1.1", 400),
            "at-in-method": (b"G@T / HTTP/1.1", 400),
            "control-in-method": (b"G\x01T / HTTP/1.1", 400),
            "small-method": (b"get / HTTP/1.1", 400),
            "no-target": (b"GET HTTP/1.1", 400),
            "space-in-target": (b"GET /a b HTTP/1.1", 400),
            "control-in-target": (b"GET /a\x01 HTTP/1.1", 400),
            "nul-in-target": (b"GET /a\x00 HTTP/1.1", 400),
            "delete-in-target": (b"GET /a\x7f HTTP/1.1", 400),
            "utf8-in-target": (b"GET /caf\xc3\xa9 HTTP/1.1", 400),
            "star": (b"GET * HTTP/1.1", 400),
            "no-slash": (b"GET a HTTP/1.1", 400),
            "ftp": (b"GET ftp://a/ HTTP/1.1", 400),
            "http09": (b"GET / HTTP/0.9", 426),
            "http10": (b"GET / HTTP/1.0", 426),
            "http12": (b"GET / HTTP/1.2", 426),
            "http20": (b"GET / HTTP/2.0", 426),
            "http99": (b"GET / HTTP/9.9", 426),
            "small-version": (b"GET / http/1.1", 400),
            "long-version": (b"GET / HTTP/01.1", 400),
            "short-version": (b"GET / HTTP/1.", 400),
            "no-version": (b"GET /", 426),
        }.items()
    ),
    refused("fragment", get("/a#b"), details="path_normalization_failed"),
    refused("tls-hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    refused("random-bytes", b"\x80\xff\x00\x01\x02 /\r\n\r\n"),
    refused("leading-spaces", b"  " + get("/")),
    refused("http2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", hcm={"codec_type": "HTTP1"}),
    Case(id="options-star", send=[request("OPTIONS", "*")], status=404, details="absolute_path_rejected"),
    Case(id="connect", send=[request("CONNECT", "$HOST:80", host="$HOST:80")], status=404, methods=["GET"]),
]

HOSTS = [
    refused("host-missing", b"GET / HTTP/1.1\r\n\r\n", details="missing_host_header"),
    *(
        refused(f"host-{name}", b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n")
        for name, value in {
            "space": b"a b",
            "slash": b"a/b",
            "hash": b"a#b",
            "question": b"a?b",
            "backslash": b"a\\b",
        }.items()
    ),
]

LIMITS = [
    refused("headers-101", get("/", *(f"x-{n}: 1" for n in range(101))), 431, details="http1.too_many_headers"),
    refused("header-61k", get("/", "x: " + "a" * 61 * 1024), 431, details="http1.headers_too_large"),
    refused("target-61k", get("/" + "a" * 61 * 1024), 431, ignore=("end",)),
    Case(id="header-59k", send=[get("/", "x: " + "a" * 59 * 1024)], status=200),
    refused("headers-limit-configured", get("/", "x: " + "a" * 2000), 431, hcm={"max_request_headers_kb": 1}),
    refused(
        "headers-count-configured",
        get("/", "a: 1", "b: 1", "c: 1"),
        431,
        hcm={"common_http_protocol_options": {"max_headers_count": 3}},
    ),
    Case(
        id="headers-count-configured-reached",
        hcm={"common_http_protocol_options": {"max_headers_count": 3}},
        send=[get("/", "a: 1", "b: 1")],
        status=200,
    ),
    refused("trailers-60k", chunks(b"0\r\nx: " + b"a" * 61 * 1024 + b"\r\n\r\n"), 431, ignore=HALF_SENT),
]

STRICTER = [
    stricter("length-leading-zero", body(b"Content-Length: 05\r\n", b"hello"), "content-length"),
    stricter("folded-line", HEAD + b"X: 1\r\n 2\r\n\r\n", "folded-lines"),
    stricter("folded-encoding", body(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"), "folded-lines"),
    stricter("bare-cr-in-value", HEAD + b"X: a\rb\r\n\r\n", "bare-cr"),
    stricter("bare-lf-lines", b"GET / HTTP/1.1\nHost: $HOST\n\n", "bare-lf"),
    stricter("bare-lf-in-value", HEAD + b"X: a\nY: b\r\n\r\n", "bare-lf"),
    stricter("cr-cr-lf", b"GET / HTTP/1.1\r\r\nHost: $HOST\r\n\r\n", "bare-cr"),
    stricter("tab-separators", b"GET\t/\tHTTP/1.1\r\nHost: $HOST\r\n\r\n", "request-line-whitespace"),
    stricter("two-spaces", b"GET  /  HTTP/1.1\r\nHost: $HOST\r\n\r\n", "request-line-whitespace"),
    stricter("space-after-version", b"GET / HTTP/1.1 \r\nHost: $HOST\r\n\r\n", "request-line-whitespace"),
    stricter("two-hosts", HEAD + b"Host: other.test\r\n\r\n", "host"),
    stricter("two-hosts-same", HEAD + b"Host: $HOST\r\n\r\n", "host"),
    *(
        stricter(f"host-{name}", b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n", "host")
        for name, value in {
            "userinfo": b"u@a",
            "comma": b"a,b",
            "open-bracket": b"[::1",
            "only-port": b":80",
            "port-too-big": b"a:99999",
            "empty": b"",
        }.items()
    ),
    stricter("chunk-ended-by-lf", chunks(b"5\r\nhello\n0\r\n\r\n"), "chunks"),
    stricter("chunk-too-long", chunks(b"5\r\nhellox\r\n0\r\n\r\n"), "chunks"),
    stricter("chunk-extension-nul", chunks(b"5;a\x00b\r\nhello\r\n0\r\n\r\n"), "chunks"),
    stricter("chunk-extension-20k", chunks(b"5;" + b"a" * 20480 + b"\r\nhello\r\n0\r\n\r\n"), "chunks"),
    Case(
        id="trailers-101",
        send=[chunks(b"0\r\n" + b"".join(b"x%d: 1\r\n" % n for n in range(101)) + b"\r\n")],
        status=200,
        methods=["GET"],
        differs=Differs("trailers", TOO_LARGE),
    ),
]

UNDERSCORES: list[Case] = [
    Case(
        id=f"underscore-{action.lower()}",
        hcm={"common_http_protocol_options": {"headers_with_underscores_action": action}},
        send=[get("/", "x_a: 1", "x-b: 2")],
        status=status,
        closes=status != 200,
        ignore=HALF_READ if status != 200 else (),
    )
    for action, status in {"ALLOW": 200, "REJECT_REQUEST": 400, "DROP_HEADER": 200}.items()
]


def protocol(id: str, data: bytes, status: int, closes: bool = False, **options: object) -> Case:  # noqa: A002
    made: Json = {"http_protocol_options": options}
    return Case(id=id, hcm=made, send=[data], methods=["GET"], status=status, closes=closes)


PROTOCOL_OPTIONS = [
    refused("custom-method", request("FOOBAR", "/")),
    protocol("http10-accepted", b"GET / HTTP/1.0\r\nHost: $HOST\r\n\r\n", 200, True, accept_http_10=True),
    protocol(
        "http10-keep-alive",
        b"GET / HTTP/1.0\r\nHost: $HOST\r\nConnection: keep-alive\r\n\r\n",
        200,
        accept_http_10=True,
    ),
    protocol("http10-without-host", b"GET / HTTP/1.0\r\n\r\n", 400, True, accept_http_10=True),
    protocol(
        "http10-default-host",
        b"GET / HTTP/1.0\r\n\r\n",
        200,
        True,
        accept_http_10=True,
        default_host_for_http_10="d.test",
    ),
    protocol(
        "http10-length",
        b"POST / HTTP/1.0\r\nHost: $HOST\r\nContent-Length: 2\r\n\r\nhi",
        200,
        True,
        accept_http_10=True,
    ),
    protocol(
        "http11-close-without-keep-alive",
        b"GET / HTTP/1.1\r\nHost: $HOST\r\nConnection: close\r\n\r\n",
        200,
        True,
        accept_http_10=True,
    ),
    protocol("absolute-not-allowed", get("http://$HOST/x"), 404, allow_absolute_url=False),
    protocol("absolute-allowed", get("http://$HOST/x"), 200, allow_absolute_url=True),
    protocol(
        "chunked-with-length-allowed",
        body(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"2\r\nhi\r\n0\r\n\r\n"),
        200,
        allow_chunked_length=True,
    ),
    protocol("custom-method-allowed", b"FOOBAR / HTTP/1.1\r\nHost: $HOST\r\n\r\n", 200, allow_custom_methods=True),
    protocol("scheme-matches-upstream", get("/"), 200),
]

CASES = LENGTHS + CHUNKS + HEADERS + LINES + HOSTS + LIMITS + STRICTER + UNDERSCORES + PROTOCOL_OPTIONS


@pytest.mark.oracle
@pytest.mark.xdist_group("bad_requests")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
