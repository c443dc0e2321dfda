"""Methods by requests, messages by bodies, JSON by messages. tests/oracle compares it with Envoy."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from pyproxy.transcoding.error import BadDescriptors, TranscodingError, UnknownField
from pyproxy.transcoding.json_text import PrintOptions
from pyproxy.transcoding.transcoder import TranscodeOptions, Transcoder
from tests.support.shelf import SERVICE, descriptor_set, message_classes

DATA = descriptor_set()
Book, Upload = message_classes("Book", "Upload")


def transcoder(**options: Any) -> Transcoder:
    return Transcoder(DATA, TranscodeOptions(services=(SERVICE,), **options))


def request(method: str, path: str, body: bytes = b"", kind: str = "", **options: Any) -> Any:
    call = transcoder(**options).begin(method.encode(), path.encode())
    return call.method.request.FromString(call.request(body, kind))


def test_path_and_query() -> None:
    made = request("GET", "/v1/shelves/a/books/7?count=2&book.tags=x&book.tags=y&book.kind=POEM&book.weight=1.5")
    assert made.shelf == "a"
    assert (made.book.id, made.count, list(made.book.tags), made.book.kind) == (7, 2, ["x", "y"], 2)
    assert made.book.weight.value == 1.5


def test_what_is_outside_of_the_body_counts() -> None:
    made = request("PUT", "/v1/shelves/a?book.id=2", b'{"id": 1, "title": "t"}')
    assert (made.shelf, made.book.id, made.book.title) == ("a", 2, "t")
    with pytest.raises(TranscodingError, match=r"book\.id is set in the body"):
        request("PUT", "/v1/shelves/a?book.id=2", b'{"id": 1}', reject_collisions=True)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("count=2147483648", "count"),
        ("count=1.5", "count"),
        ("book.pages=-1", "book.pages"),
        ("book.price=x", "book.price"),
        ("book.sold=maybe", "book.sold"),
        ("book.cover=?", "book.cover"),
        ("book.kind=X", "book.kind"),
        ("book.since=x", "book.since"),
        ("book=x", "book"),
    ],
)
def test_values_that_do_not_fit(query: str, value: str) -> None:
    with pytest.raises(TranscodingError, match=f"^{value}: invalid value"):
        request("GET", f"/v1/list?{query}")


@pytest.mark.parametrize("field", ["what", "book.what", "shelf.what", "books.id"])
def test_fields_that_there_are_not(field: str) -> None:
    with pytest.raises(UnknownField):
        request("GET", f"/v1/list?{field}=1")
    assert request("GET", f"/v1/list?{field}=1", ignore_unknown_query=True).ByteSize() == 0


@pytest.mark.parametrize(
    "body", [b"{", b"1", b"[]", b'{"kind": "X"}', b'{"partOf": {"kind": "X"}}', b'{"tags": 1}', b"[" * 100_000]
)
def test_bodies_that_do_not_fit(body: bytes) -> None:
    with pytest.raises(TranscodingError) as raised:
        request("POST", "/v1/echo", body)
    assert raised.value.code == "INVALID_ARGUMENT"


def test_only_the_first_element_gets_what_is_outside() -> None:
    call = transcoder().begin(b"POST", b"/v1/chat/x")
    assert Book.FromString(call.request(b"{}", "")).title == "x"
    assert Book.FromString(call.request(b"{}", "", first=False)) == Book()


def test_raw_bodies() -> None:
    made = request("POST", "/v1/store/n", b"anything", "a/b")
    assert (made.name, made.content.content_type, made.content.data) == ("n", "a/b", b"anything")
    call = transcoder().begin(b"GET", b"/v1/fetch/n")
    packed = Upload(content={"content_type": "a/b", "data": b"1"}).SerializeToString()
    assert call.gives_raw
    assert call.raw_response(packed) == ("a/b", b"1")


def test_json_of_answers() -> None:
    call = transcoder(printing=PrintOptions(primitive_fields=True, proto_names=True)).begin(b"GET", b"/v1/list")
    text = call.response(Book(author_name="<", price=2).SerializeToString())
    assert b'"author_name":"\\u003c"' in text
    assert b'"price":2,' in text
    with pytest.raises(TranscodingError):
        call.response(b"\xff")


def test_statuses() -> None:
    made = transcoder()
    assert made.status_json(made.pack_status(5, "no")) == b'{"code":5,"message":"no"}'
    with pytest.raises(TranscodingError):
        made.status_json(b"\xff")


def test_methods_without_a_rule() -> None:
    with pytest.raises(TranscodingError, match="Could not resolve"):
        transcoder().begin(b"POST", b"/t.Library/Hidden")
    assert transcoder(auto_mapping=True).begin(b"POST", b"/t.Library/Hidden").method.path == b"/t.Library/Hidden"


def changed(change: Any) -> bytes:
    files = descriptor_pb2.FileDescriptorSet.FromString(DATA)
    change(files)
    packed: bytes = files.SerializeToString()
    return packed


def test_unknown_services_have_a_nearest_one() -> None:
    with pytest.raises(BadDescriptors) as raised:
        Transcoder(DATA, TranscodeOptions(services=("t.Librari",)))
    assert raised.value.nearest == "t.Library"


def test_descriptors_that_cannot_be_used() -> None:
    options = TranscodeOptions(services=(SERVICE,))
    with pytest.raises(BadDescriptors, match="FileDescriptorSet"):
        Transcoder(b"\xff", options)
    without = changed(lambda files: files.file.pop(-2))
    with pytest.raises(BadDescriptors, match=r"httpbody.proto', which is missing"):
        Transcoder(without, options)

    def lose_a_type(files: Any) -> None:
        files.file[-1].service[0].method[0].input_type = ".t.Nothing"

    with pytest.raises(BadDescriptors, match="is not valid"):
        Transcoder(changed(lose_a_type), options)
