"""Entries for collectors."""

from __future__ import annotations

from pyproxy.config.access_log import Map, RecordEntry, ServiceEntry
from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.config.format import parse_format
from pyproxy.config.tracing import CustomTagConfig
from pyproxy.errors import ResponseFlag
from pyproxy.telemetry.collector_logs import build_entry
from tests.telemetry.exchanges import forwarded, unread

HTTP, TCP, RECORDS = (
    ExportTarget(kind, "c") for kind in (ExportKind.ALS_HTTP, ExportKind.ALS_TCP, ExportKind.OTLP_LOGS)
)


def test_an_http_entry() -> None:
    config = ServiceEntry(
        request_headers=(b"x-a", b"x-none"),
        response_headers=(b"x-dup",),
        filter_states=("key", "none"),
        tags=(
            CustomTagConfig("tag", parse_format("%REQ(x-b)%", omit_empty=True)),
            CustomTagConfig("missing", parse_format("%REQ(x-none)%", omit_empty=True)),
            CustomTagConfig("default", parse_format("%REQ(x-none)%", omit_empty=True), "d"),
        ),
    )
    request, response = forwarded()
    request.info.flags = (ResponseFlag.UPSTREAM_OVERFLOW,)
    request.info.dynamic_metadata = {"ns": {"k": 1}}
    entry = build_entry(HTTP, config)(request, response)
    common = entry["common_properties"]
    assert common["downstream_remote_address"] == {"socket_address": {"address": "10.1.2.3", "port_value": 3333}}
    assert common["upstream_remote_address"] == {"socket_address": {"address": "127.0.0.1", "port_value": 9000}}
    assert common["start_time"]["seconds"] == 1795228202
    assert common["time_to_last_rx_byte"]["seconds"] == 0
    assert abs(common["time_to_last_rx_byte"]["nanos"] - 1_500_000) < 1000
    assert common["response_flags"] == ["UO"]
    assert common["custom_tags"] == {"tag": "vb", "default": "d"}
    assert common["filter_state_objects"] == {"key": "state"}
    assert common["metadata"] == {"ns": '{"k":1}'}
    assert entry["protocol_version"] == "HTTP11"
    assert entry["request"]["request_headers"] == {"x-a": "va,v2"}
    assert entry["request"]["request_method"] == "POST"
    assert entry["response"]["response_headers"] == {"x-dup": "a,b"}
    assert entry["response"]["response_code"] == 200


def test_a_request_that_could_not_be_read() -> None:
    entry = build_entry(HTTP, ServiceEntry())(*unread())
    assert entry["request"] == {}
    assert entry["response"]["response_code_details"] == "http1.codec_error"
    assert "upstream_remote_address" not in entry["common_properties"]


def test_a_tcp_entry() -> None:
    request, _ = forwarded()
    entry = build_entry(TCP, ServiceEntry())(request, None)
    assert entry["connection_properties"] == {"received_bytes": 3, "sent_bytes": 265}
    assert "request" not in entry


def test_a_log_record() -> None:
    request, response = forwarded()
    request.info.trace_id, request.info.span_id = "a" * 32, "b" * 16
    path = parse_format("%REQ(:path)%")
    config = RecordEntry(Map((("k", (path, path)),)), (("a", parse_format("%REQ(x-none)%")),))
    made = build_entry(RECORDS, config)(request, response)
    assert made["body"] == {"k": ["/up/x?a=1&b=%20x&c"] * 2}
    assert made["attributes"] == {"a": "-"}
    assert (made["trace"], made["span"]) == ("a" * 32, "b" * 16)
    assert build_entry(RECORDS, RecordEntry())(request, response)["body"] is None
