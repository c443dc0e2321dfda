"""Compiles transport sockets, on either side. Envoy: envoy.config.core.v3.TransportSocket.

Plain text, TLS, and upstream a PROXY header before either. Any other is a fault: without it, what was meant to be
encrypted would not be.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pyproxy.config.proxy_header import ProxyHeaderConfig, compile_proxy_header
from pyproxy.config.tls import DownstreamTlsConfig, PassedMetadata, TransportSocketMatch, UpstreamTlsConfig
from pyproxy.config.tls_compile import DOWNSTREAM_TLS, UPSTREAM_TLS, compile_downstream_tls, compile_upstream_tls
from pyproxy.config.view import View

_SOCKETS: Final = "envoy.extensions.transport_sockets."
RAW_BUFFER: Final = f"{_SOCKETS}raw_buffer.v3.RawBuffer"
_PROXY_HEADER: Final = f"{_SOCKETS}proxy_protocol.v3.ProxyProtocolUpstreamTransport"
_START_DOWN: Final = f"{_SOCKETS}starttls.v3.StartTlsConfig"
_START_UP: Final = f"{_SOCKETS}starttls.v3.UpstreamStartTlsConfig"

_INTERNAL: Final = f"{_SOCKETS}internal_upstream.v3.InternalUpstreamTransport"


class UpstreamSocket(NamedTuple):
    """TLS, or None for plain text; the PROXY header before it, or None; what goes along to internal listeners."""

    tls: UpstreamTlsConfig | None = None
    header: ProxyHeaderConfig | None = None
    passed: tuple[PassedMetadata, ...] = ()


PLAIN: Final = UpstreamSocket()


def compile_downstream_socket(view: View) -> DownstreamTlsConfig | None:
    """None stands for plain text."""
    typed = _typed(view, DOWNSTREAM_TLS, _START_DOWN)
    if typed is None:
        return None
    if typed.type_name == _START_DOWN:
        compile_downstream_tls(_start(typed))
        return None
    return compile_downstream_tls(typed)


def compile_upstream_socket(view: View) -> UpstreamSocket:
    """Any of them; one may stand inside of another."""
    typed = _typed(view, UPSTREAM_TLS, _PROXY_HEADER, _START_UP, _INTERNAL)
    if typed is None:
        return PLAIN
    if typed.type_name == _START_UP:
        compile_upstream_tls(_start(typed))
        return PLAIN
    if typed.type_name == UPSTREAM_TLS:
        return UpstreamSocket(compile_upstream_tls(typed))
    if typed.type_name == _INTERNAL:
        return compile_upstream_socket(typed)._replace(passed=typed.each("passthrough_metadata", _passed))
    header = compile_proxy_header(typed.need("config"))
    typed.ignore("tlv_as_pool_key", "allow_unspecified_address")  # all that is told tells connections apart
    inner = compile_upstream_socket(typed)
    if inner.header is not None:
        typed.fail(
            "transport_socket", "is one that sends a PROXY header too", expected=f"{RAW_BUFFER} or {UPSTREAM_TLS}"
        )
    return inner._replace(header=header)


def _passed(view: View) -> PassedMetadata:
    """A `MetadataValueSource`."""
    kind = view.need("kind")
    chosen = kind.oneof("kind")
    if chosen not in ("host", "cluster"):
        view.fail(
            "kind", f"is {chosen!r}, which a connection has none of (Envoy refuses it too)", expected="host or cluster"
        )
    kind.need(chosen)
    return PassedMetadata(chosen == "host", view.text("name"))


def compile_socket_matches(view: View) -> tuple[TransportSocketMatch, ...]:
    """`transport_socket_matches` of a cluster."""
    return view.each("transport_socket_matches", _socket_match)


def _socket_match(view: View) -> TransportSocketMatch:
    view.ignore("name")  # for statistics
    return TransportSocketMatch(view.struct("match") or {}, *compile_upstream_socket(view))


def _start(view: View) -> View:
    """Of a socket that begins in plain text, the TLS that a filter can ask for. None of ours does."""
    view.ignore("cleartext_socket_config")
    return view.need("tls_socket_config")


def _typed(view: View, *known: str) -> View | None:
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
    if typed.type_name not in known:
        reason = f"the transport socket {name!r} of type {typed.type_name} is not supported yet"
        found.fail("typed_config", reason, expected=f"{RAW_BUFFER} or {known[0]}")
    return typed
