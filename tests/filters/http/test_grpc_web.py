"""The grpc_web filter by itself. What both sides get to see is compared with Envoy in tests/oracle."""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest

from pyproxy.errors import ProxyError
from pyproxy.filters.http import grpc_web
from pyproxy.filters.http.grpc_web import Encoder, GrpcWebConfig, TextDecoder, decode
from pyproxy.http.body import Body
from pyproxy.http.grpc_frames import frame
from pyproxy.http.message import Headers, Request, Response
from tests.config.compiling import CONTEXT, view
from tests.filters.http.test_grpc_stats import World
from tests.telemetry.exchanges import forwarded

DATA = random.Random(1).randbytes(3000)


def taken(body: Body) -> bytes:
    data = body.take()
    assert data is not None
    return data


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 1000])
def test_text_in_any_pieces(size: int) -> None:
    source = Body()
    made = TextDecoder(source).begin()
    text = base64.b64encode(DATA)
    for at in range(0, len(text), size):
        source.feed(text[at : at + size])
    source.end()
    assert taken(made) == DATA


def test_several_texts_in_one_body() -> None:
    assert decode(base64.b64encode(b"a") + base64.b64encode(b"bc") + base64.b64encode(b"def")) == b"abcdef"


@pytest.mark.parametrize("data", [b"????", b"AAA", b"A===", b"AA=A", b"=AAA", b"AA==?AAA", b"AAAAAA==A==="])
def test_what_is_no_text(data: bytes) -> None:
    assert decode(data) is None


@pytest.mark.parametrize(("text", "details"), [(b"????", "failed"), (b"AAAAA", "failed_bad_size")])
def test_a_request_ends_where_it_is_no_text(text: bytes, details: str) -> None:
    source = Body()
    made = TextDecoder(source).begin()
    source.feed(text)
    source.end()
    assert isinstance(made.error, ProxyError)
    assert made.error.details == f"grpc_base_64_decode_{details}"


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_answers_in_any_pieces(size: int, text: bool) -> None:
    source = Body()
    made = Encoder(source, None, text=text).begin()
    messages = frame(b"abc") + frame(b"") + frame(DATA)
    for at in range(0, len(messages), size):
        source.feed(messages[at : at + size])
    source.end([(b"grpc-status", b"0"), (b"x", b"y")])
    last = frame(b"grpc-status:0\r\nx:y\r\n", 0x80)
    got = taken(made)
    assert (decode(got) if text else got) == messages + last
    assert made.trailers is None


async def test_the_whole_of_it() -> None:
    request, _ = forwarded()
    request.headers = Headers([(b"content-type", b"application/grpc-web-text"), (b"content-length", b"12")])
    request.body = Body.complete(base64.b64encode(frame(b"a")))
    world: Any = World()

    async def upstream(request: Request) -> Response:
        assert request.headers.pairs == [
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"grpc-accept-encoding", b"identity"),
        ]
        assert taken(request.body or Body()) == frame(b"a")
        body = Body.complete(frame(b"b"), [(b"grpc-status", b"0")])
        return Response(200, Headers([(b"content-type", b"application/grpc")]), body)

    response = await GrpcWebConfig().build(world)(request, upstream)
    assert response.headers.pairs == [(b"content-type", b"application/grpc-web+proto")]
    assert response.body is not None
    assert taken(response.body) == frame(b"b") + frame(b"grpc-status:0\r\n", 0x80)
    assert request.info.came_as_call is False


def test_compiles() -> None:
    assert grpc_web.compile(view("envoy.extensions.filters.http.grpc_web.v3.GrpcWeb", "{}"), CONTEXT) == GrpcWebConfig()
