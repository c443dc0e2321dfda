"""Configurations of taps: what is understood, and what is refused and how."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.tap import (
    AdminSink,
    AndRule,
    AnyRule,
    BodyRule,
    NotRule,
    TapFormat,
    TapPart,
)
from pyproxy.config.tap_compile import parse_tap_request, unpack_tap

PATTERNS = [{"string_match": "a"}, {"binary_match": "AP8="}]
SERVICE = {"envoy_grpc": {"cluster_name": "c"}}
BAD_REGEX = {"name": "a", "safe_regex_match": {"regex": "("}}


def asked(match: Any = None, sink: Any = None, **output: Any) -> str:
    sinks = [{"format": "JSON_BODY_AS_STRING", **(sink or {"streaming_admin": {}})}]
    config = {"match": match or {"any_match": True}, "output_config": {"sinks": sinks, **output}}
    return json.dumps({"config_id": "me", "tap_config": config})


def test_all_of_it() -> None:
    match = {
        "and_match": {
            "rules": [
                {"not_match": {"any_match": True}},
                {"http_request_generic_body_match": {"bytes_limit": 9, "patterns": PATTERNS}},
            ]
        }
    }  # fmt: skip
    sink = {"buffered_admin": {"max_traces": 3, "timeout": "2s"}}
    request = parse_tap_request(asked(match, sink, max_buffered_rx_bytes=7, streaming=True))
    config = request.config
    assert request.config_id == "me"
    body = BodyRule(TapPart.REQUEST_BODY, (b"a", b"\x00\xff"), 9)
    assert config.rule == AndRule((NotRule(AnyRule()), body))
    assert (config.sink, config.format) == (AdminSink(3, 2.0), TapFormat.JSON_BODY_AS_STRING)
    assert (config.rx, config.tx, config.streaming) == (7, 1024, True)
    assert unpack_tap(request.packed) == config


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("config_id: [", "not YAML"),
        ("{}", "config_id: is missing"),
        (asked(sink={"file_per_tap": {"path_prefix": "/tmp/x"}}), "is not answered here"),
        (asked(sink={"streaming_grpc": {"tap_id": "a", "grpc_service": SERVICE}}), "streaming_grpc"),
        (asked(sink={"format": "PROTO_TEXT", "streaming_admin": {}}), "is not for the admin"),
        (asked({"and_match": {"rules": [{}, {"any_match": True}]}}), "rule"),
        (asked({"http_request_headers_match": {"headers": [BAD_REGEX]}}), "regular"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        parse_tap_request(text)
    assert says in str(refused.value)
