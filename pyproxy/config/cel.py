"""Expressions of the Common Expression Language over the attributes of a request (cel.dev; Envoy: "Attributes").

The library is that of Envoy itself, cel-cpp in Google's package `cel-expr-python`. It is an extra: who has no
expression in the configuration neither installs nor imports it. Attributes are declared one by one with their types,
so an expression that asks for what there is not, or compares what cannot be compared, is refused with its place.
"""

from __future__ import annotations

import functools
from typing import Any, Final

NEEDED: Final = "pip install 'pyproxy-mesh[cel]'"
_STRING, _INT, _BOOL, _MAP, _UINT = "STRING", "INT", "BOOL", "MAP", "UINT"
_TIMESTAMP, _DURATION, _ANY = "TIMESTAMP", "DURATION", "DYN"
ATTRIBUTES: Final[dict[str, str]] = {
    "request.path": _STRING,
    "request.url_path": _STRING,
    "request.host": _STRING,
    "request.scheme": _STRING,
    "request.method": _STRING,
    "request.headers": _MAP,
    "request.referer": _STRING,
    "request.useragent": _STRING,
    "request.time": _TIMESTAMP,
    "request.id": _STRING,
    "request.protocol": _STRING,
    "request.query": _STRING,
    "request.duration": _DURATION,
    "request.size": _INT,
    "request.total_size": _INT,
    "response.code": _INT,
    "response.code_details": _STRING,
    "response.headers": _MAP,
    "response.trailers": _MAP,
    "response.size": _INT,
    "response.total_size": _INT,
    "response.grpc_status": _INT,
    "response.backend_latency": _DURATION,
    "source.address": _STRING,
    "source.port": _INT,
    "destination.address": _STRING,
    "destination.port": _INT,
    "connection.id": _UINT,
    "connection.mtls": _BOOL,
    "connection.requested_server_name": _STRING,
    "connection.tls_version": _STRING,
    "connection.subject_peer_certificate": _STRING,
    "connection.subject_local_certificate": _STRING,
    "connection.dns_san_peer_certificate": _STRING,
    "connection.uri_san_peer_certificate": _STRING,
    "connection.uri_san_local_certificate": _STRING,
    "connection.sha256_peer_certificate_digest": _STRING,
    "connection.termination_details": _STRING,
    "connection.transport_failure_reason": _STRING,
    "upstream.address": _STRING,
    "upstream.port": _INT,
    "upstream.local_address": _STRING,
    "upstream.transport_failure_reason": _STRING,
    "upstream.request_attempt_count": _UINT,
    "metadata.filter_metadata": _ANY,
    "xds.cluster_name": _STRING,
    "xds.cluster_metadata": _ANY,
    "xds.route_name": _STRING,
    "xds.route_metadata": _ANY,
    "xds.virtual_host_name": _STRING,
    "xds.virtual_host_metadata": _ANY,
    "xds.upstream_host_metadata": _ANY,
    "xds.filter_chain_name": _STRING,
}
"""Name -> type. Those of Envoy that are not here are refused by name."""


class BadCel(Exception):
    """An expression that cannot be used."""

    def __init__(self, reason: str, expected: str = "") -> None:
        super().__init__(reason)
        self.expected = expected


def compile_cel(expression: str) -> Any:
    """The library's program. Raises BadCel."""
    try:
        return _environment().compile(expression)
    except RuntimeError as error:
        # The library says where, and then draws an arrow.
        said = str(error).partition("\n")[0].removeprefix("INVALID_ARGUMENT: ERROR: <input>:")
        raise BadCel(f"is not an expression of CEL: {said}", _hint(said)) from None


def error_type() -> Any:
    """The type of what an expression gives that has no value."""
    from cel_expr_python import cel

    return cel.Type.ERROR


@functools.cache
def _environment() -> Any:
    # Imported by the first expression: 5 MB that no other process has to hold.
    try:
        from cel_expr_python import cel
    except ImportError:
        raise BadCel("needs the package cel-expr-python", NEEDED) from None
    kinds = cel.Type
    types = {_MAP: kinds.Map(kinds.STRING, kinds.STRING)}
    return cel.NewEnv(variables={name: types.get(kind) or getattr(kinds, kind) for name, kind in ATTRIBUTES.items()})


def _hint(said: str) -> str:
    if "undeclared reference" not in said:
        return ""
    root = said.partition("'")[2].partition(".")[0].partition("'")[0]
    known = [name for name in ATTRIBUTES if name.startswith(f"{root}.")]
    return f"one of {', '.join(known or sorted({name.partition('.')[0] for name in ATTRIBUTES}))}"
