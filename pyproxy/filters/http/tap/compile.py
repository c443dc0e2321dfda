"""tap: compiles `envoy.extensions.filters.http.tap.v3.Tap`.

Envoy: envoy.filters.http.tap. Security posture: what is recorded is recorded as it is, with credentials; whoever may
post to the admin may read all of it.
"""

from __future__ import annotations

from pyproxy.config.extensions import CompileContext
from pyproxy.config.tap import AdminSink
from pyproxy.config.tap_compile import compile_tap
from pyproxy.config.view import View
from pyproxy.filters.http.tap.config import TapFilterConfig


def compile(view: View, context: CompileContext) -> TapFilterConfig:  # noqa: A001 (the name that every filter has)
    """A `Tap`."""
    del context
    common = view.need("common_config")
    tap, config_id = None, ""
    if common.has("static_config"):
        static = common.need("static_config")
        tap = compile_tap(static)
        if isinstance(tap.sink, AdminSink):
            path = static.need("output_config").children("sinks")[0]
            path.fail("", "answers nobody in a static_config", expected="file_per_tap, or an admin_config")
    else:
        config_id = common.need("admin_config").text("config_id")
    return TapFilterConfig(
        tap,
        config_id,
        times=bool(view.scalar("record_headers_received_time")),
        downstream=bool(view.scalar("record_downstream_connection")),
        upstream=bool(view.scalar("record_upstream_connection")),
    )
