"""The grpc_http1_reverse_bridge filter by itself. What both sides get to see is compared with Envoy in tests/oracle."""

from __future__ import annotations

import pytest

from pyproxy.config.route import FilterOverride
from pyproxy.filters.http import grpc_http1_reverse_bridge
from pyproxy.filters.http.grpc_http1_reverse_bridge import Ending, ReverseBridgeConfig, Unframed
from pyproxy.http.body import Body
from pyproxy.http.grpc_frames import frame
from tests.config.compiling import CONTEXT, unread, view

TYPE = "envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfig"


@pytest.mark.parametrize("size", [1, 2, 5, 6, 100])
def test_messages_lose_what_stands_before_them(size: int) -> None:
    source = Body()
    made = Unframed(source).begin()
    data = frame(b"abcdef")
    for at in range(0, len(data), size):
        source.feed(data[at : at + size])
    source.end([(b"t", b"1")])
    assert made.take() == b"abcdef"
    assert made.trailers == [(b"t", b"1")]


def test_a_body_that_is_no_message() -> None:
    source = Body()
    made = Unframed(source).begin()
    source.feed(b"abc")
    source.end()
    assert made.error is not None
    assert made.error.details == "grpc_bridge_data_too_small"


def test_answers_get_an_end() -> None:
    source = Body()
    made = Ending(source, 5, b"\0\0\0\0\x03").begin()
    source.feed(b"ab")
    source.feed(b"c")
    source.end([(b"t", b"1")])
    assert made.take() == frame(b"abc")
    assert made.trailers == [(b"t", b"1"), (b"grpc-status", b"5")]


def test_an_empty_answer_of_known_size() -> None:
    assert Ending(Body.complete(b""), 0, frame(b"")).begin().take() == frame(b"")


def test_compiles() -> None:
    seen = view(TYPE, "{content_type: a/b, withhold_grpc_frames: true, response_size_header: X-Size}")
    expected = ReverseBridgeConfig(b"a/b", frames=False, size_header=b"x-size")
    assert grpc_http1_reverse_bridge.compile(seen, CONTEXT) == expected
    assert unread(seen) == []
    off = view(f"{TYPE}PerRoute", "{disabled: true}")
    assert grpc_http1_reverse_bridge.compile_route(off, CONTEXT) == FilterOverride(disabled=True)
