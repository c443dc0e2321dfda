"""The grpc_json_transcoder filter: what upstreams get for requests with JSON, and what becomes of their answers."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf import json_format

from pyproxy.http.grpc_frames import MessageReader
from tests.oracle.bootstrap import TYPE, router
from tests.oracle.case import Case, Differs, Json, chunked, cluster, get, post, request, route, says, with_trailers
from tests.oracle.conftest import Pair, check_ours
from tests.oracle.observation import Observation
from tests.support.h2_downstream import Stream
from tests.support.shelf import SERVICE, descriptor_set, message_classes
from tests.support.upstream import Answer, AwaitBody, Close, raw, reply

DESCRIPTORS = base64.b64encode(descriptor_set()).decode()
JSON = "content-type: application/json"
GRPC = "content-type: application/grpc"
Book, GetRequest, HttpBody, Upload = message_classes("Book", "GetRequest", "google.api.HttpBody", "Upload")
BOOK = Book(id=7, title='a <b> & "c" ü\u2028', author_name="me", kind=1, tags=["x", "y"], price=1.5, cover=b"\0\xff")
SIZES = ("log.*bytes*", "log.*wire*")
# What is wrong with a body is told in words of their own.
WORDS = ("reply.0.body", "reply.0.headers", "log.0.*bytes*", "log.0.upstream*", "log.0.request_duration")
ANCHOR = "grpc-json-transcoder"
NO_REST = Differs(ANCHOR, {"rest": "", "reply.0.start": "HTTP/1.1 404 Not Found"})
TOLD = Differs(ANCHOR, {"reply.0.start": "HTTP/1.1 500 Internal Server Error"})


def frame(message: Any) -> bytes:
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


def answer(*messages: Any, trailers: bytes = b"grpc-status: 0\r\n", kind: bytes = b"application/grpc") -> Answer:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in map(frame, messages))
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n" % kind
    return raw(head + chunks + b"0\r\n" + trailers + b"\r\n")


def call(id: str, send: Any, *answers: Answer, config: Json | None = None, **more: Any) -> Case:  # noqa: A002
    more.setdefault("routes", [{**route(cluster=f"c-{id}"), "match": {"prefix": "/t.Library"}}, route(cluster="other")])
    typed = {
        "@type": f"{TYPE}.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor_bin": DESCRIPTORS,
        "services": [SERVICE],
        **(config or {}),
    }
    transcoder = {"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": typed}
    return Case(
        id=id,
        hcm={"http_filters": [transcoder, router()]},
        clusters=[cluster(f"c-{id}", **with_trailers())],
        send=send if isinstance(send, list) else [send],
        upstream=answers or [answer(BOOK)],
        status=more.pop("status", 200),
        # How many bytes a message takes depends on whether zeros are said.
        ignore=("log.0.upstream_wire_bytes_sent", *more.pop("ignore", ())),
        **more,
    )


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


STRICT = {"request_validation_options": {"reject_unknown_method": True, "reject_unknown_query_parameters": True}}
WHOLE = body({"id": "5", "title": "t", "authorName": "me", "kind": "POEM", "tags": ["a"], "price": 2, "sold": True})
ODD = body(
    {"id": 5, "author_name": "me", "kind": 2, "unknown": {"a": 1}, "cover": "AP8=", "since": "2020-01-01T00:00:00Z"}
)
TYPES = body({"weight": 1.25, "lasts": "3.5s", "more": {"a": [1, None, "x"]}, "partOf": {"id": "1"}})
FAILED = b"grpc-status: 5\r\ngrpc-message: not%20here\r\n"
CONVERT = {"convert_grpc_status": True}
H2 = ((":method", "GET"), (":scheme", "http"), (":authority", "$HOST"), (":path", "/v1/shelves/s/books/1"))
CASES = [
    call("get", get("/v1/shelves/a%2Fb/books/12")),
    call("get-query", get("/v1/shelves/s/books/1?count=3&page_token=x%20y+z&book.title=t&book.tags=1&book.tags=2")),
    call("get-query-json-name", get("/v1/shelves/s/books/1?pageToken=x&book.authorName=n")),
    call("get-query-types", get("/v1/list?book.kind=POEM&book.price=1e3&book.sold=true&book.cover=AP8%3D"), answer()),
    call("get-query-times", get("/v1/list?book.since=2020-01-01T00:00:00Z&book.weight=2.5&book.lasts=1s"), answer()),
    call("get-query-enum-number", get("/v1/list?book.kind=2"), answer()),
    call("get-query-bad", get("/v1/shelves/s/books/1?count=x"), status=400),
    call("get-query-bad-bool", get("/v1/shelves/s/books/1?book.sold=1"), status=200),
    call("get-query-bad-enum", get("/v1/shelves/s/books/1?book.kind=POEMS"), status=400),
    call("get-query-unknown", get("/v1/shelves/s/books/1?what=3")),
    call("get-query-unknown-strict", get("/v1/shelves/s/books/1?what=3"), config=STRICT, status=400),
    call(
        "get-query-unknown-ignored",
        get("/v1/shelves/s/books/1?what=3"),
        config={"ignore_unknown_query_parameters": True},
    ),
    call("get-query-ignored", get("/v1/shelves/s/books/1?what=3"), config={"ignored_query_parameters": ["what"]}),
    call("get-query-plus", get("/v1/shelves/s/books/1?page_token=a+b"), config={"query_param_unescape_plus": True}),
    call("get-query-no-value", get("/v1/shelves/s/books/1?page_token&count="), status=400),
    call("get-bad-id", get("/v1/shelves/s/books/x"), status=400),
    call("find", get("/v1/find/a/b%2Fc/d%20e")),
    call("find-all", get("/v1/find/a/b%2Fc/d%20e"), config={"url_unescape_spec": "ALL_CHARACTERS"}),
    call("find-slash", get("/v1/find/a/b%2Fc%3A/d"), config={"url_unescape_spec": "ALL_CHARACTERS_EXCEPT_SLASH"}),
    call("find-nothing", get("/v1/find/")),
    call("slash-at-end", get("/v1/shelves/s/books/1/")),
    call("unknown", get("/v1/what")),
    call("unknown-strict", get("/v1/what"), config=STRICT, status=404),
    call("unknown-method", request("DELETE", "/v1/shelves/s/books/1")),
    call("verb", post("/v1/shelves/a/b:put", body({"book": {"id": 1}}), JSON)),
    call("verb-other", post("/v1/shelves/a/b:get", b"{}", JSON)),
    call("put", request("PUT", "/v1/shelves/s?count=2", JSON, body=WHOLE)),
    call("put-empty", request("PUT", "/v1/shelves/s")),
    call("put-list", post("/v1/all/s", body([{"id": 1}, {"id": 2}]), JSON)),
    call("echo", post("/v1/echo", WHOLE, JSON)),
    call("echo-odd", post("/v1/echo", ODD, JSON)),
    call("echo-types", post("/v1/echo", TYPES, JSON)),
    call("echo-chunked", chunked("/v1/echo", WHOLE[:9], WHOLE[9:], headers=[JSON])),
    call("echo-no-type", post("/v1/echo", WHOLE)),
    call("echo-empty", request("POST", "/v1/echo", JSON)),
    call("echo-bad", post("/v1/echo", b'{"id": ', JSON), status=400, ignore=WORDS),
    call("echo-bad-value", post("/v1/echo", b'{"id": "x"}', JSON), status=400, ignore=WORDS),
    call("echo-bad-shape", post("/v1/echo", b"[1]", JSON), status=400, ignore=WORDS),
    call("echo-enum", post("/v1/echo", b'{"kind": "poem"}', JSON), status=400, ignore=WORDS),
    call("echo-enum-any", post("/v1/echo", b'{"kind": "poem"}', JSON), config={"case_insensitive_enum_parsing": True}),
    call("echo-large", post("/v1/echo", WHOLE, JSON), config={"max_request_body_size": 8}, status=413, ignore=WORDS),
    call("echo-large-answer", post("/v1/echo", WHOLE, JSON), config={"max_response_body_size": 8}, status=500),
    call("fetch", get("/v1/fetch/x"), answer(Upload(name="n", content=HttpBody(content_type="a/b", data=b"1")))),
    call("list", get("/v1/list"), answer(BOOK, Book(), Book(id=3))),
    call("list-none", get("/v1/list"), answer()),
    call("list-head-only", get("/v1/list"), reply("200 OK", b"", GRPC, "grpc-status: 5"), status=404, differs=NO_REST),
    call("list-failed", get("/v1/list"), answer(BOOK, trailers=FAILED)),
    call(
        "list-newline",
        get("/v1/list"),
        answer(BOOK, Book()),
        config={"print_options": {"stream_newline_delimited": True}},
    ),
    call(
        "list-sse",
        get("/v1/list"),
        answer(BOOK, Book()),
        config={"print_options": {"stream_newline_delimited": True, "stream_sse_style_delimited": True}},
    ),
    call("collect", post("/v1/collect", body([{"id": 1}, {"id": 2}, {}]), JSON)),
    call("collect-none", post("/v1/collect", b"[]", JSON)),
    call("collect-one", post("/v1/collect", b'{"id": 1}', JSON), status=400, ignore=WORDS),
    call("chat", post("/v1/chat/x", body([{"id": 1}, {"id": 2}]), JSON), answer(BOOK, BOOK)),
    call(
        "raw",
        post("/v1/raw", b"anything", "content-type: text/weird"),
        answer(HttpBody(content_type="a/b", data=b"\0x")),
    ),
    call("raw-empty", request("POST", "/v1/raw", "content-type: text/weird"), answer(HttpBody())),
    call("store", post("/v1/store/n", b"anything", "content-type: text/weird"), answer(Upload(name="x"))),
    call("raw-list", get("/v1/rawlist"), answer(HttpBody(content_type="a/b", data=b"1"), HttpBody(data=b"2"))),
    call("hidden", post("/t.Library/Hidden", WHOLE, JSON)),
    call("hidden-auto", post("/t.Library/Hidden", WHOLE, JSON), config={"auto_mapping": True}),
    call("auto-of-bound", post("/t.Library/Echo", WHOLE, JSON), config={"auto_mapping": True}),
    call("grpc", post("/t.Library/Echo", frame(BOOK), GRPC)),
    call("failed", get("/v1/shelves/s/books/1"), answer(trailers=FAILED), status=404),
    call("failed-body", get("/v1/shelves/s/books/1"), answer(BOOK, trailers=FAILED), status=404),
    call(
        "failed-head",
        get("/v1/shelves/s/books/1"),
        reply("200 OK", b"", GRPC, "grpc-status: 3", "grpc-message: no"),
        status=400,
    ),
    call("failed-odd", get("/v1/shelves/s/books/1"), answer(trailers=b"grpc-status: 77\r\n"), status=500),
    call("failed-no-status", get("/v1/shelves/s/books/1"), answer(BOOK, trailers=b""), status=200),
    call("failed-no-status-trailers", get("/v1/shelves/s/books/1"), answer(BOOK, trailers=b"a: b\r\n"), status=503),
    call("convert", get("/v1/shelves/s/books/1"), answer(trailers=FAILED), config=CONVERT, status=404),
    call(
        "convert-head",
        get("/v1/shelves/s/books/1"),
        reply("200 OK", b"", GRPC, "grpc-status: 3", "grpc-message: n%20o"),
        config=CONVERT,
        status=400,
    ),
    call("convert-body", get("/v1/shelves/s/books/1"), answer(BOOK, trailers=FAILED), config=CONVERT, status=404),
    call("convert-list", get("/v1/list"), answer(trailers=FAILED), config=CONVERT, ignore=("log.0.response_headers*",)),
    call(
        "convert-details",
        get("/v1/shelves/s/books/1"),
        reply(
            "200 OK",
            b"",
            GRPC,
            "grpc-status: 3",
            "grpc-status-details-bin: " + base64.b64encode(b"\x08\x03\x12\x02hi").decode(),
        ),
        config=CONVERT,
        status=400,
    ),
    call("bad-answer", get("/v1/shelves/s/books/1"), answer(b"\xff\xff"), differs=TOLD),
    call("not-grpc", get("/v1/shelves/s/books/1"), reply("200 OK", b"hello", "content-type: text/plain")),
    call("error", get("/v1/shelves/s/books/1"), reply("503 X", b"hello"), status=503),
    call("gone", get("/v1/shelves/s/books/1"), (AwaitBody(), Close()), status=503),
    call("direct", get("/v1/shelves/s/books/1"), routes=[says("no", {"prefix": "/"})]),
    call("no-route", get("/v1/shelves/s/books/1"), routes=[], status=404),
    call("two-answers", get("/v1/shelves/s/books/1"), answer(BOOK, BOOK)),
    call(
        "print-all",
        get("/v1/shelves/s/books/1"),
        answer(Book(id=1)),
        config={"print_options": {"always_print_primitive_fields": True}},
    ),
    call(
        "print-names",
        get("/v1/shelves/s/books/1"),
        config={"print_options": {"preserve_proto_field_names": True, "always_print_enums_as_ints": True}},
    ),
    call(
        "print-space",
        get("/v1/shelves/s/books/1"),
        answer(Book(id=1, tags=["a"], part_of=Book(id=2))),
        config={"print_options": {"add_whitespace": True}},
    ),
    call(
        "incoming-route",
        get("/v1/shelves/s/books/1"),
        config={"match_incoming_request_route": True},
        routes=[{**route(cluster="other"), "match": {"prefix": "/t.Library"}}, route(cluster="c-incoming-route")],
    ),
    call("h2", Stream(H2), h2=True, ignore=SIZES),
    call("h2-failed", Stream(H2), answer(trailers=FAILED), h2=True, status=404, ignore=SIZES),
]


REQUESTS = dict.fromkeys(("Get", "Find", "Put", "PutAll", "List", "RawList"), GetRequest)
REQUESTS |= {"Raw": HttpBody, "Store": Upload, "Fetch": Upload}


def readable(found: Observation) -> Observation:
    """With what upstreams got as text: the order of fields, and zeros that are said, mean nothing."""
    for key in [key for key in found if key.startswith("upstream.") and key.endswith(".body")]:
        start = found[key.replace(".body", ".start")]
        data, method = found[key].encode("latin-1"), start.partition("/t.Library/")[2].partition(" ")[0]
        if not method or b"{" in data:
            continue
        told = []
        for flags, packed in MessageReader().read(data):
            message = REQUESTS.get(method, Book).FromString(packed)
            told.append(f"{flags} {json_format.MessageToJson(message, always_print_fields_with_no_presence=True)}")
        found[key] = "\n".join(told)
    return found


@pytest.mark.oracle
@pytest.mark.xdist_group("grpc_json_transcoder")
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.id))
def test_as_envoy(case: Case, pair: Pair) -> None:
    theirs, ours = pair.play(case)
    if ours is not None:
        check_ours(case, readable(theirs), readable(ours))
