"""The grpc_http1_bridge filter by itself. What both sides get to see is compared with Envoy in tests/oracle."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.errors import ProxyError
from pyproxy.filters.http import grpc_http1_bridge
from pyproxy.filters.http.grpc_http1_bridge import GrpcHttp1BridgeConfig, OneMessage
from pyproxy.http.body import Body
from pyproxy.http.grpc_frames import frame
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.whole_body import REQUEST_TOO_LARGE, RESPONSE_TOO_LARGE
from tests.config.compiling import CONTEXT, unread, view
from tests.telemetry.exchanges import forwarded

GRPC = (b"content-type", b"application/grpc")
NOTHING: Any = None


def test_a_message_is_collected() -> None:
    source = Body()
    made = OneMessage(source, 10).begin()
    source.feed(b"abc")
    source.feed(b"de")
    assert made.take() is None
    source.end([(b"t", b"1")])
    assert made.take() == frame(b"abcde")
    assert made.trailers == [(b"t", b"1")]


def test_a_message_that_is_too_large() -> None:
    source = Body()
    made = OneMessage(source, 4).begin()
    source.feed(b"abc")
    source.feed(b"de")
    assert made.error is REQUEST_TOO_LARGE
    source.end()


async def test_an_answer_that_is_too_large() -> None:
    request, _ = forwarded()
    request.headers = Headers([GRPC])

    async def upstream(request: Request) -> Response:
        return Response(200, Headers([GRPC]), Body.complete(bytes((1 << 20) + 1)))

    with pytest.raises(ProxyError) as raised:
        await GrpcHttp1BridgeConfig().build(NOTHING)(request, upstream)
    assert raised.value is RESPONSE_TOO_LARGE


def test_compiles() -> None:
    seen = view(
        "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config",
        "{upgrade_protobuf_to_grpc: true, ignore_query_parameters: true}",
    )
    assert grpc_http1_bridge.compile(seen, CONTEXT) == GrpcHttp1BridgeConfig(upgrade_protobuf=True, drop_query=True)
    assert unread(seen) == []
