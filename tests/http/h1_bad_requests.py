"""Requests that both engines have to refuse."""

from __future__ import annotations

from tests.http.h1_good_requests import CHUNKED, GET, HELLO, POST, fields, get

# What must be refused: the status, or those that are both right; the number is that of the messages before it.
BAD = (400,)
LARGE = (431,)
LOW = (426,)
CODING = (501, 400)
REFUSED: dict[str, tuple[bytes, tuple[int, ...], int]] = {
    # RFC 9112 6.1: framing that two readers may understand differently
    "CL and TE": (POST + fields(b"Content-Length: 5", b"Transfer-Encoding: chunked") + HELLO, BAD, 0),
    "TE and CL": (POST + fields(b"Transfer-Encoding: chunked", b"Content-Length: 5") + HELLO, BAD, 0),
    "two CL": (POST + fields(b"Content-Length: 5", b"Content-Length: 6") + b"hello", BAD, 0),
    "the same CL twice": (POST + fields(b"Content-Length: 5", b"Content-Length: 5") + b"hello", BAD, 0),
    "TE twice": (POST + fields(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + HELLO, CODING, 0),
    "TE twice, other order": (
        POST + fields(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked") + HELLO,
        CODING,
        0,
    ),
    "TE twice, far apart": (
        POST + fields(b"Transfer-Encoding: chunked", b"X: 1", b"X: 2", b"transfer-encoding: chunked") + HELLO,
        CODING,
        0,
    ),
    "TE with vertical tab before": (POST + fields(b"Transfer-Encoding: \x0bchunked") + HELLO, BAD, 0),
    "TE with vertical tab behind": (POST + fields(b"Transfer-Encoding: chunked\x0b") + HELLO, BAD, 0),
    "TE with HTTP/1.0": (b"POST / HTTP/1.0\r\n" + fields(b"Transfer-Encoding: chunked") + HELLO, LOW, 0),
    "space before colon of TE": (POST + fields(b"Transfer-Encoding : chunked") + HELLO, BAD, 0),
    "folded TE": (POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + HELLO, BAD, 0),
    # Lines
    "folded line": (get(b"X: 1", b" 2"), BAD, 0),
    "folded line by tab": (get(b"X: 1", b"\t2"), BAD, 0),
    "folded first line": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", BAD, 0),
    "folded empty line": (get(b"X: 1", b" "), BAD, 0),
    "CR in value": (get(b"X: a\rb"), BAD, 0),
    "CR at the end of value": (get(b"X: a\r"), BAD, 0),
    "LF everywhere": (b"GET / HTTP/1.1\nHost: a\n\n", BAD, 0),
    "LF behind the request line": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", BAD, 0),
    "LF behind a field": (b"GET / HTTP/1.1\r\nHost: a\n\r\n", BAD, 0),
    "LF at the end of the head": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", BAD, 0),
    "field after LF": (get(b"X: a\nY: b"), BAD, 0),
    "CR CR LF behind the request line": (b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", BAD, 0),
    "CR and something at the end of the head": (b"GET / HTTP/1.1\r\nHost: a\r\n\rX", BAD, 0),
    "empty lines by LF": (b"\n\n" + get(), BAD, 0),
    "empty lines by CR": (b"\r" + get(), BAD, 0),
    "too many empty lines": (b"\r\n" * 2000 + get(), BAD, 0),
    "space before the request": (b" " + get(), BAD, 0),
    "junk behind a request": (get() + b"\x00", BAD, 1),
    # Fields
    "NUL in value": (get(b"X: a\0b"), BAD, 0),
    "control character in value": (get(b"X: a\x01b"), BAD, 0),
    "DEL in value": (get(b"X: a\x7fb"), BAD, 0),
    "empty name": (get(b": 1"), BAD, 0),
    "no colon": (get(b"novalue"), BAD, 0),
    # Chunks (RFC 9112 7.1)
    "chunk data longer than said": (CHUNKED + b"5\r\nhelloX\r\n0\r\n\r\n", BAD, 0),
    "chunk data shorter than said": (CHUNKED + b"5\r\nhell\r\n0\r\n\r\n", BAD, 0),
    "LF behind chunk data": (CHUNKED + b"5\r\nhello\n0\r\n\r\n", BAD, 0),
    "CR behind chunk data": (CHUNKED + b"5\r\nhello\r0\r\n\r\n", BAD, 0),
    "LF behind chunk size": (CHUNKED + b"5\nhello\r\n0\r\n\r\n", BAD, 0),
    "CR CR LF behind chunk size": (CHUNKED + b"5\r\r\nhello\r\n0\r\n\r\n", BAD, 0),
    "LF behind the last chunk": (CHUNKED + b"5\r\nhello\r\n0\n\n", BAD, 0),
    "LF at the end of the message": (CHUNKED + b"5\r\nhello\r\n0\r\n\n", BAD, 0),
    "bad chunk in the last request": (
        POST + fields(b"Transfer-Encoding: chunked", b"Connection: close") + b"zz\r\n",
        BAD,
        0,
    ),
    "20 KB of one extension": (CHUNKED + b"5;a=" + b"b" * 20_000 + b"\r\nhello\r\n0\r\n\r\n", BAD, 0),
    "20 KB of extensions together": (CHUNKED + (b"1;" + b"a" * 200 + b"\r\nx\r\n") * 100 + b"0\r\n\r\n", BAD, 0),
    # Trailers
    "bad name in trailers": (CHUNKED + b"0\r\nX : 1\r\n\r\n", BAD, 0),
    "folded trailers": (CHUNKED + b"0\r\nX: 1\r\n 2\r\n\r\n", BAD, 0),
    "LF in trailers": (CHUNKED + b"0\r\nX: 1\n\r\n", BAD, 0),
    "NUL in trailers": (CHUNKED + b"0\r\nX: a\0\r\n\r\n", BAD, 0),
    "CL in trailers": (CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n", BAD, 0),
    "TE in trailers": (CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n", BAD, 0),
    "101 trailers": (CHUNKED + b"0\r\n" + b"X: 1\r\n" * 101 + b"\r\n", LARGE, 0),
    "61 KiB of trailers": (CHUNKED + b"0\r\n" + (b"X: " + b"y" * 1000 + b"\r\n") * 62 + b"\r\n", LARGE, 0),
    # Host (RFC 9112 3.2)
    "two hosts": (get(b"Host: b"), BAD, 0),
    "the same host twice": (get(b"Host: a"), BAD, 0),
    "two hosts among duplicates": (get(b"X: 1", b"X: 1", b"Host: b"), BAD, 0),
    "two hosts and an absolute form": (b"GET http://c/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", BAD, 0),
    # Limits
    "101 fields": (get(*[b"X: 1"] * 100), LARGE, 0),
    "61 KiB of one field": (get(b"X: " + b"y" * 61 * 1024), LARGE, 0),
    "61 KiB of fields": (get(*[b"X: " + b"y" * 1000] * 62), LARGE, 0),
    "a field without end": (GET + b"X: " + b"y" * 1024 * 1024, LARGE, 0),
    "61 KiB of path": (b"GET /" + b"y" * 61 * 1024 + b" HTTP/1.1\r\nHost: a\r\n\r\n", LARGE, 0),
    "the second request is too large": (get() + get(b"X: " + b"y" * 61 * 1024), LARGE, 1),
    # No HTTP at all
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), BAD, 0),
    "zeros": (bytes(20), BAD, 0),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD + LOW, 0),
    "PROXY protocol": (b"PROXY TCP4 1.2.3.4 1.2.3.4 5 6\r\n" + get(), BAD, 0),
    "SSH": (b"SSH-2.0-x\r\n", BAD, 0),
}
_CL = (
    b"+5|-5|0x5|1_0|5a|5.0|5;|\x0b5|\xd9\xa5||05|5 6|5, 5|5, 6|5,|,5|"
    b"99999999999999999999|18446744073709551616|9223372036854775808"
)
for _value in _CL.split(b"|"):
    REFUSED[f"CL {_value!r}"] = (POST + fields(b"Content-Length: " + _value) + b"hello", BAD, 0)
_TE = b'xchunked|identity|gzip, chunked|chunked, chunked|chunked, identity|"chunked"|chunked;x=1|,chunked||chunked,|x'
for _value in _TE.split(b"|"):
    REFUSED[f"TE {_value!r}"] = (POST + fields(b"Transfer-Encoding: " + _value) + HELLO, CODING, 0)
for _character in b'\0\x01\x7f\x80\xff \t"(),/;<=>?@[\\]{}':
    REFUSED[f"{_character:#x} in name"] = (get(b"X" + bytes([_character]) + b"Y: 1"), BAD, 0)
    REFUSED[f"{_character:#x} at the end of name"] = (get(b"X" + bytes([_character]) + b": 1"), BAD, 0)
_SIZES = (
    b"0x5|+5|-5| 5|5 |5\t|0_5||zz|\xd9\xa5|5,a|5 ;a|5;a b|"
    b'5;a\0b|5;a\rb|5;a\nb|5;a\x80|5;a="|5;|10000000000000005|fffffffffffffffff'
)
for _value in _SIZES.split(b"|"):
    REFUSED[f"chunk size {_value!r}"] = (CHUNKED + _value + b"\r\nhello\r\n0\r\n\r\n", BAD, 0)
_LINES = (
    b" / HTTP/1.1|G@T / HTTP/1.1|G\x01T / HTTP/1.1|get / HTTP/1.1|FOOBAR / HTTP/1.1|GETX / HTTP/1.1|GET\t/ HTTP/1.1"
    b"|GET / \tHTTP/1.1|GET  / HTTP/1.1|GET /  HTTP/1.1|GET / HTTP/1.1 |GET / HTTP/1.1  x|GET / HTTP/1.1\t"
    b"|GET /a b HTTP/1.1"
    b"|GET /\x01 HTTP/1.1|GET /\0 HTTP/1.1|GET /\x7f HTTP/1.1|GET /\xc3\xa9 HTTP/1.1|GET / http/1.1|GET / HTTP/01.1"
    b"|GET / HTTP/1.|GET / HTTP/1|GET / HTTP/1.10|GET / HTTP/.1|GET / HTP/1.1|GET / ICE/1.0|GET|GET |GET  HTTP/1.1"
    b"|GET * HTTP/1.1|GET foo HTTP/1.1|GET #f HTTP/1.1|GET ?a HTTP/1.1|GET ftp://a/ HTTP/1.1"
    b"|GET http:///x HTTP/1.1|GET http://u@b/ HTTP/1.1|GET http://b/#f HTTP/1.1|GET http://[::1/x HTTP/1.1"
    b"|GET http://b:99999/ HTTP/1.1|CONNECT a:b HTTP/1.1|CONNECT http://a:80 HTTP/1.1|CONNECT /a HTTP/1.1"
)
for _value in _LINES.split(b"|"):
    REFUSED[f"line {_value!r}"] = (_value + b"\r\nHost: a\r\n\r\n", BAD, 0)
for _value in b"GET / HTTP/1.0|GET / HTTP/0.9|GET / HTTP/1.2|GET / HTTP/2.0|GET / HTTP/9.9|GET /".split(b"|"):
    REFUSED[f"line {_value!r}"] = (_value + b"\r\nHost: a\r\n\r\n", LOW, 0)
_HOSTS = b'a b|a/b|a#b|a?b|a\\b|u@a|a,b|[::1|:x|:99999||a:65536|:80|[zz]|a:80:80|[::1]x|a[|\xc3\xa9|"a"|<a>'
for _value in _HOSTS.split(b"|"):
    REFUSED[f"host {_value!r}"] = (b"GET / HTTP/1.1\r\nHost: " + _value + b"\r\n\r\n", BAD, 0)
