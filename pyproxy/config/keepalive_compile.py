"""Compiles TCP keep-alive, on either side. Envoy: envoy.config.core.v3.TcpKeepalive."""

from __future__ import annotations

from pyproxy.config.view import View

Keepalive = tuple[int, int, int]
"""(probes, seconds idle, seconds between probes); 0 keeps the system's."""


def compile_keepalive(view: View, name: str = "tcp_keepalive") -> Keepalive | None:
    """None where the connection is to have no keep-alive."""
    found = view.child(name)
    if found is None:
        return None
    probes, idle, interval = (
        found.wrapped(field) for field in ("keepalive_probes", "keepalive_time", "keepalive_interval")
    )
    return probes or 0, idle or 0, interval or 0
