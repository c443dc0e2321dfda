"""The two engines against each other: what one reads the other reads, what one refuses the other refuses.

Messages come from a grammar that knows the tricks of request smuggling, and then some of their bytes are spoilt.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pyproxy.http.codec import CodecLimits, CodecOptions
from tests.http.h1_playbook import FAST, PURE, Reading, read_requests, read_responses

PROBE = b"GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n"
OPTIONS = st.builds(
    CodecOptions,
    allow_http10=st.booleans(),
    keep_trailers=st.booleans(),
    limits=st.sampled_from([CodecLimits(), CodecLimits(header_count=3, chunk_extension_bytes=8)]),
)


def often(usual: list[bytes], seldom: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.one_of(st.sampled_from(usual), st.sampled_from(usual), st.sampled_from(usual), st.sampled_from(seldom))


METHODS = often([b"GET", b"POST", b"HEAD"], [b"PUT", b"OPTIONS", b"FOO", b"get", b"", b"G T", b"PRI", b"M-SEARCH"])
TARGETS = often(
    [b"/", b"/a?b=c", b"/x/../y"],
    [b"*", b"", b"//", b"/ a", b"/\x80", b"/\x00", b"http://h/x", b"http://h?x", b"h:80", b"ftp://h/", b"http://u@h/"],
)
VERSIONS = often(
    [b"HTTP/1.1"], [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1 ", b"HTTP/1"]
)
LINE_ENDS = often([b"\r\n"] * 9, [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n ", b" \r\n", b"\t\r\n", b"\0\r\n"])
COLONS = often([b": ", b":", b":  "], [b" : ", b" :", b":\t", b"", b":\r\n ", b"=:"])
LENGTHS = often([b"5", b"0", b"12"], [b"05", b"+5", b"5, 5", b"-1", b"0x5", b"5 ", b"", b"9" * 20, b"5\x0b", b"1_0"])
CODINGS = often(
    [b"chunked"], [b"CHUNKED", b"identity", b"gzip, chunked", b"chunked, chunked", b"xchunked", b"", b"chunked;q=1"]
)
OPTIONS_OF_CONNECTION = often(
    [b"keep-alive", b"close"], [b"Close", b"upgrade", b"close, x", b"x,close", b"closed", b"", b","]
)
NAMES = often(
    [b"X", b"Cookie", b"x-long-name"], [b"", b"X Y", b"X\x00", b"X\x80", b"(X)", b"\tX", b"x_y", b"!#$%&'*+-.^`|~"]
)
VALUES = often([b"1", b"a b", b""], [b"\x80\xff", b"a\x00b", b"a\rb", b"a\nb", b"\x7f", b"\x01", b"a\tb", b'"x"'])


@st.composite
def field_line(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from("xxxxltcchu"))
    if kind == "l":
        name, value = draw(st.sampled_from([b"Content-Length", b"content-length"])), draw(LENGTHS)
    elif kind == "t":
        name, value = draw(st.sampled_from([b"Transfer-Encoding", b"TRANSFER-ENCODING"])), draw(CODINGS)
    elif kind == "c":
        name, value = draw(st.sampled_from([b"Connection", b"Proxy-Connection"])), draw(OPTIONS_OF_CONNECTION)
    elif kind == "h":
        name, value = b"Host", draw(often([b"a", b"b:80"], [b"", b"a b", b"[::1]", b"a,b", b"\x80"]))
    elif kind == "u":
        name, value = draw(st.sampled_from([(b"Upgrade", b"x"), (b"Expect", b"100-continue"), (b"Trailer", b"X")]))
    else:
        name, value = draw(NAMES), draw(VALUES)
    return name + draw(COLONS) + value + draw(LINE_ENDS)


@st.composite
def body(draw: st.DrawFn) -> bytes:
    """Nothing, some bytes, or chunks of which most are right; often what follows looks like a request."""
    kind = draw(st.sampled_from(["", "bytes", "chunks", "chunks", "request"]))
    if kind == "":
        return b""
    if kind == "bytes":
        return draw(st.sampled_from([b"hello", b"hello, world", b"x"]))
    if kind == "request":
        return PROBE
    pieces = []
    for _ in range(draw(st.integers(0, 3))):
        data = draw(st.sampled_from([b"x", b"hello", b"0\r\n\r\n", b"A" * 20]))
        size = draw(
            often(
                [b"%x" % len(data)], [b"0x%x" % len(data), b"", b"5", b" 5", b"FFFFFFFFFFFFFFFFF", b"00%X" % len(data)]
            )
        )
        extension = draw(
            often([b"", b"", b";a=b"], [b";", b";a", b' ;a="b;c"', b';a="b;c"', b";a\x00", b";" + b"e" * 20])
        )
        pieces.append(size + extension + draw(LINE_ENDS) + data + draw(LINE_ENDS))
    trailers = b"".join(draw(st.lists(field_line(), max_size=2))) if draw(st.booleans()) else b""
    return b"".join(pieces) + b"0" + draw(LINE_ENDS) + trailers + draw(LINE_ENDS)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    messages = []
    for _ in range(draw(st.integers(1, 3))):
        line = b" ".join((draw(METHODS), draw(TARGETS), draw(VERSIONS))) + draw(LINE_ENDS)
        host = draw(often([b"Host: a\r\n"], [b""]))
        fields = b"".join(draw(st.lists(field_line(), max_size=4)))
        empty = draw(often([b""] * 4, [b"\r\n", b"\r\n\r\n"]))
        messages.append(empty + line + host + fields + draw(LINE_ENDS) + draw(body()))
    return b"".join(messages)


STATUSES = often(
    [b"200 OK", b"404 Not Found"],
    [
        b"204 x",
        b"304 x",
        b"100 Continue",
        b"103 x",
        b"101 x",
        b"99 x",
        b"1000 x",
        b"abc",
        b"200",
        b"200 ",
        b"503 a\x00b",
    ],
)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    messages = []
    for _ in range(draw(st.integers(1, 3))):
        line = draw(VERSIONS) + b" " + draw(STATUSES) + draw(LINE_ENDS)
        fields = b"".join(draw(st.lists(field_line(), max_size=4)))
        messages.append(line + fields + draw(LINE_ENDS) + draw(body()))
    return b"".join(messages)


@st.composite
def spoilt(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    """Some bytes lost, doubled, added or replaced."""
    data = bytearray(draw(messages))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2, 4]))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["drop", "double", "add", "replace", "cut"])):
            case "drop":
                del data[at : at + 1]
            case "double":
                data[at:at] = data[at : at + draw(st.integers(1, 5))]
            case "add":
                data[at:at] = draw(
                    st.sampled_from([b"\r", b"\n", b"\0", b" ", b"\t", b"0", b":", b";", b"\r\n", b"\x80"])
                )
            case "replace":
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case _:
                del data[at:]
    return bytes(data)


def pieces(data: bytes, source: st.DataObject) -> list[bytes]:
    places = sorted(source.draw(st.lists(st.integers(0, len(data)), max_size=4)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True) if a < b]


def agree(fast: Reading, pure: Reading) -> None:
    """The same messages; and if only one has refused, the other has not accepted: it waits for more.

    One engine may refuse a line at its first bad byte, the other when the line or the head is complete.
    """
    assert fast.complete == pure.complete
    assert fast.tunnel == pure.tunnel
    assert [message.head for message in fast.messages] == [message.head for message in pure.messages]
    if fast.error is None and pure.error is None:
        assert fast.messages == pure.messages


@given(data=st.data(), sent=spoilt(requests()), options=OPTIONS)
@settings(max_examples=400)
def test_requests(data: st.DataObject, sent: bytes, options: CodecOptions) -> None:
    cut = pieces(sent, data)
    fast = read_requests(FAST, cut, options)
    pure = read_requests(PURE, cut, options)
    agree(fast, pure)
    if (fast.error is None) != (pure.error is None):
        # The one that waits must not take what comes next for a request of its own.
        waiting = read_requests(FAST if fast.error is None else PURE, [*cut, PROBE], options)
        assert len(waiting.complete) == len(fast.complete)


@given(data=st.data(), sent=spoilt(responses()), options=OPTIONS, head=st.booleans(), eof=st.booleans())
@settings(max_examples=400)
def test_responses(data: st.DataObject, sent: bytes, options: CodecOptions, head: bool, eof: bool) -> None:
    """As a pool sends them: the next request when the last response is complete."""
    cut = pieces(sent, data)
    methods = [b"HEAD" if head else b"GET"]
    fast = read_responses(FAST, cut, options, methods, eof=eof)
    pure = read_responses(PURE, cut, options, methods, eof=eof)
    agree(fast, pure)
    if eof:
        assert (fast.error is None) == (pure.error is None)


@given(sent=spoilt(requests()), options=OPTIONS)
def test_how_a_request_is_cut_does_not_matter(sent: bytes, options: CodecOptions) -> None:
    for engine in (FAST, PURE):
        whole = read_requests(engine, [sent], options)
        bytewise = read_requests(engine, [sent[i : i + 1] for i in range(len(sent))], options)
        assert whole.complete == bytewise.complete
        assert (whole.error is None) == (bytewise.error is None)


@given(sent=st.binary(max_size=300), options=OPTIONS)
def test_random_bytes_are_refused_or_waited_for(sent: bytes, options: CodecOptions) -> None:
    for engine in (FAST, PURE):
        assert read_requests(engine, [sent], options).messages == []
        assert read_responses(engine, [sent], options, [b"GET"], eof=False).messages == []
