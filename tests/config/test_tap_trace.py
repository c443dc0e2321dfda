"""Plain traces as Envoy writes them."""

from __future__ import annotations

import json
from typing import Any

from pyproxy.config.descriptors import message_class
from pyproxy.config.tap import TapFormat
from pyproxy.config.tap_trace import render_trace

TRACE: dict[str, Any] = {
    "id": 7,
    "request": {
        "headers": [(":path", "/"), ("x-raw", "\xff")],
        "body": "caf\xc3\xa9",
        "truncated": True,
        "trailers": [],
        "time": 1.5,
    },
    "response": None,
    "downstream": (("10.0.0.1", 80), ("/run/a", 0)),
}
SEGMENT = {"id": 1 << 63, "segment": "response_body_chunk", "value": "hi", "truncated": False}


def parsed(data: bytes) -> Any:
    return message_class("envoy.data.tap.v3.TraceWrapper").FromString(data)


def test_json() -> None:
    found = json.loads(render_trace(TRACE, TapFormat.JSON_BODY_AS_STRING))["http_buffered_trace"]
    assert found["request"]["body"] == {"as_string": "caf\xe9", "truncated": True}
    assert found["request"]["headers"][1] == {"key": "x-raw", "value": "", "raw_value": "/w=="}
    assert found["request"]["headers_received_time"] == "1970-01-01T00:00:01.500Z"
    assert found["downstream_connection"]["remote_address"]["pipe"]["path"] == "/run/a"
    found = json.loads(render_trace(TRACE, TapFormat.JSON_BODY_AS_BYTES))["http_buffered_trace"]
    assert found["request"]["body"]["as_bytes"] == "Y2Fmw6k="


def test_protobuf() -> None:
    plain = render_trace(SEGMENT, TapFormat.PROTO_BINARY)
    assert parsed(plain).http_streamed_trace_segment.trace_id == 1 << 63
    delimited = render_trace(TRACE, TapFormat.PROTO_BINARY_LENGTH_DELIMITED)
    whole = render_trace(TRACE, TapFormat.PROTO_BINARY)
    assert delimited.endswith(whole)
    assert len(delimited) == len(whole) + 1
    assert render_trace(SEGMENT, TapFormat.PROTO_TEXT).startswith(b"http_streamed_trace_segment {")


def test_lengths_of_more_than_a_byte() -> None:
    body = {**SEGMENT, "value": "x" * 300}
    size = len(render_trace(body, TapFormat.PROTO_BINARY))
    delimited = render_trace(body, TapFormat.PROTO_BINARY_LENGTH_DELIMITED)
    assert delimited[:2] == bytes([size & 0x7F | 0x80, size >> 7])
