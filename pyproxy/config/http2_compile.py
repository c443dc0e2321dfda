"""Compiles how HTTP/2 is spoken: envoy.config.core.v3.Http2ProtocolOptions -> `config.http2.H2Options`."""

from __future__ import annotations

from typing import Final

from pyproxy.config.http2 import H2Keepalive, H2Options
from pyproxy.config.view import View

_DEFAULTS: Final = H2Options()


def compile_http2(view: View | None, *, stream_errors: bool = False) -> H2Options:
    """`stream_errors`: what is said for all versions of HTTP, which the options may override."""
    if view is None:
        return H2Options(stream_errors=stream_errors)
    for name in ("allow_metadata", "custom_settings_parameters"):
        if _is_set(view, name):
            view.fail(name, "is not supported")
    # A choice between Envoy's engines, the size of METADATA, which is none, and frames that wait: bodies wait as bytes.
    view.ignore("use_oghttp2_codec", "max_metadata_size", "max_outbound_frames", "allow_metadata")
    view.ignore("custom_settings_parameters")

    def number(name: str, default: int) -> int:
        found = view.wrapped(name)
        return default if found is None else int(found)

    own = view.wrapped("override_stream_error_on_invalid_http_message")
    if own is None and view.scalar("stream_error_on_invalid_http_messaging"):
        own = True
    keepalive = view.child("connection_keepalive")
    return H2Options(
        header_table=number("hpack_table_size", _DEFAULTS.header_table),
        max_concurrent_streams=number("max_concurrent_streams", _DEFAULTS.max_concurrent_streams),
        stream_window=number("initial_stream_window_size", _DEFAULTS.stream_window),
        connection_window=number("initial_connection_window_size", _DEFAULTS.connection_window),
        allow_connect=bool(view.scalar("allow_connect")),
        max_control_frames=number("max_outbound_control_frames", _DEFAULTS.max_control_frames),
        max_empty_frames=number("max_consecutive_inbound_frames_with_empty_payload", _DEFAULTS.max_empty_frames),
        max_priority_frames=number("max_inbound_priority_frames_per_stream", _DEFAULTS.max_priority_frames),
        max_window_updates=number("max_inbound_window_update_frames_per_data_frame_sent", _DEFAULTS.max_window_updates),
        stream_errors=stream_errors if own is None else bool(own),
        keepalive=None if keepalive is None else _keepalive(keepalive),
    )


def _keepalive(view: View) -> H2Keepalive:
    jitter = view.child("interval_jitter")
    return H2Keepalive(
        interval=view.seconds("interval") or 0.0,
        timeout=view.seconds("timeout") or 0.0,
        jitter=15.0 if jitter is None else float(jitter.scalar("value")),
        idle_interval=view.seconds("connection_idle_interval") or 0.0,
    )


def _is_set(view: View, name: str) -> bool:
    return any(field.name == name for field, _ in view.message.ListFields())
