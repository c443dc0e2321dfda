"""Compiles transport sockets, on either side. Envoy: envoy.config.core.v3.TransportSocket.

Plain text and TLS. Any other is a fault: without it, what was meant to be encrypted would not be.
"""

from __future__ import annotations

from typing import Final

from pyproxy.config.tls import DownstreamTlsConfig, TransportSocketMatch, UpstreamTlsConfig
from pyproxy.config.tls_compile import DOWNSTREAM_TLS, UPSTREAM_TLS, compile_downstream_tls, compile_upstream_tls
from pyproxy.config.view import View

RAW_BUFFER: Final = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"


def compile_downstream_socket(view: View) -> DownstreamTlsConfig | None:
    """None stands for plain text."""
    typed = _typed(view, DOWNSTREAM_TLS)
    return None if typed is None else compile_downstream_tls(typed)


def compile_upstream_socket(view: View) -> UpstreamTlsConfig | None:
    """None stands for plain text."""
    typed = _typed(view, UPSTREAM_TLS)
    return None if typed is None else compile_upstream_tls(typed)


def compile_socket_matches(view: View) -> tuple[TransportSocketMatch, ...]:
    """`transport_socket_matches` of a cluster."""
    return view.each("transport_socket_matches", _socket_match)


def _socket_match(view: View) -> TransportSocketMatch:
    view.ignore("name")  # for statistics
    return TransportSocketMatch(view.struct("match") or {}, compile_upstream_socket(view))


def _typed(view: View, tls: str) -> View | None:
    found = view.child("transport_socket")
    if found is None:
        return None
    name = found.text("name")
    if not found.has("typed_config"):
        found.fail("typed_config", f"the transport socket {name!r} has none, and a name alone chooses nothing")
    typed = found.any("typed_config")
    assert typed is not None
    if typed.type_name == RAW_BUFFER:
        return None
    if typed.type_name != tls:
        reason = f"the transport socket {name!r} of type {typed.type_name} is not supported yet"
        found.fail("typed_config", reason, expected=f"{RAW_BUFFER} or {tls}")
    return typed
