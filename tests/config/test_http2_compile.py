from __future__ import annotations

import pytest

from pyproxy.config.http2 import H2Keepalive, H2Options
from pyproxy.config.http2_compile import compile_http2
from tests.config.compiling import problems, unread, view

OPTIONS = "envoy.config.core.v3.Http2ProtocolOptions"


def test_nothing_said_is_the_default() -> None:
    assert compile_http2(None) == H2Options()
    assert compile_http2(view(OPTIONS, "{}")) == H2Options()
    assert compile_http2(None, stream_errors=True) == H2Options(stream_errors=True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (
            """
            hpack_table_size: 1
            max_concurrent_streams: 2
            initial_stream_window_size: 65535
            initial_connection_window_size: 65536
            allow_connect: true
            max_outbound_control_frames: 3
            max_consecutive_inbound_frames_with_empty_payload: 4
            max_inbound_priority_frames_per_stream: 5
            max_inbound_window_update_frames_per_data_frame_sent: 6
            """,
            H2Options(1, 2, 65_535, 65_536, True, 3, 4, 5, 6),
        ),
        ("override_stream_error_on_invalid_http_message: true", H2Options(stream_errors=True)),
        ("stream_error_on_invalid_http_messaging: true", H2Options(stream_errors=True)),
        (
            "connection_keepalive: {interval: 30s, timeout: 5s, interval_jitter: {value: 1}}",
            H2Options(keepalive=H2Keepalive(30.0, 5.0, 1.0)),
        ),
        (
            "connection_keepalive: {timeout: 5s, connection_idle_interval: 9s}",
            H2Options(keepalive=H2Keepalive(0.0, 5.0, 15.0, 9.0)),
        ),
        ("use_oghttp2_codec: false", H2Options()),
    ],
)
def test_what_is_said(text: str, value: H2Options) -> None:
    seen = view(OPTIONS, text)
    assert compile_http2(seen) == value
    assert (problems(seen), unread(seen)) == ([], [])


def test_the_options_go_before_what_is_said_for_all_versions() -> None:
    seen = view(OPTIONS, "override_stream_error_on_invalid_http_message: false")
    assert not compile_http2(seen, stream_errors=True).stream_errors


@pytest.mark.parametrize("text", ["allow_metadata: true", "custom_settings_parameters: [{identifier: 16, value: 1}]"])
def test_what_is_not_there_is_refused(text: str) -> None:
    seen = view(OPTIONS, text)
    with seen.report.isolate():
        compile_http2(seen)
    assert "is not supported" in problems(seen)[0]
