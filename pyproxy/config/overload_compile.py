"""Compiles the overload manager: of its monitors, the one that limits connections.

Envoy: envoy.config.overload.v3.OverloadManager. The other monitors and the actions are listed as not honoured.
"""

from __future__ import annotations

from typing import Final

from pyproxy.config.view import View

_CONNECTIONS: Final = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"


def compile_connection_limit(view: View) -> int:
    """Of a `Bootstrap`: downstream connections that may be open in the whole proxy; 0 for no limit."""
    if not view.has("overload_manager"):
        return 0
    overload = view.need("overload_manager")
    most = 0
    for monitor in overload.children("resource_monitors"):
        typed = monitor.message.typed_config  # type: ignore[attr-defined]
        if typed.type_url.rpartition("/")[2] != _CONNECTIONS:
            continue
        monitor.ignore("name")
        config = monitor.any("typed_config")
        assert config is not None
        most = int(config.scalar("max_active_downstream_connections"))
    if most:
        overload.ignore("refresh_interval")
    return most
