"""What a try is told that cannot get a connection."""

from __future__ import annotations

from pyproxy.clusters.dial import LocalFailure, reason
from pyproxy.errors import ProxyError, ResponseFlag, Source


def overflow() -> ProxyError:
    """A circuit breaker is open."""
    return ProxyError(
        ResponseFlag.UPSTREAM_OVERFLOW,
        Source.LOCAL,
        503,
        "upstream_reset_before_response_started{overflow}",
        body=b"upstream connect error or disconnect/reset before headers. reset reason: overflow",
        headers=((b"x-envoy-overloaded", b"true"),),
    )


def connect_failure(error: Exception | None) -> ProxyError:
    """What went wrong is for the access log: it would tell a client too much of what is behind us (Envoy)."""
    if error is None:
        told, details = b"connection timeout", "connection_timeout"
    elif isinstance(error, LocalFailure):
        told, details = b"local connection failure", f"local_connection_failure|{reason(error)}".rstrip("|")
    else:
        told, details = b"remote connection failure", f"remote_connection_failure|{reason(error)}"
    return ProxyError(
        ResponseFlag.UPSTREAM_CONNECTION_FAILURE,
        Source.UPSTREAM,
        503,
        f"upstream_reset_before_response_started{{{details}}}",
        body=b"upstream connect error or disconnect/reset before headers. reset reason: " + told,
    )
