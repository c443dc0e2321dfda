"""Every command operator by name: the table of contents of formats.

Envoy: "Access log command operators". Operators of things that are not known here have no value; the
parser in `config.format` rejects names that Envoy does not have.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from pyproxy.config.format import Operator
from pyproxy.errors import ResponseFlag
from pyproxy.http.message import Request, Response
from pyproxy.telemetry import formatter_addresses as addresses
from pyproxy.telemetry import formatter_grpc as grpc
from pyproxy.telemetry import formatter_headers as headers
from pyproxy.telemetry import formatter_metadata as metadata
from pyproxy.telemetry import formatter_time as times
from pyproxy.telemetry.formatter_expression import (
    Expression,
    Kind,
    Scope,
    Unset,
    call,
    constant,
    made,
    nothing,
    number,
    repeated,
    text,
)
from pyproxy.telemetry.formatter_source import Formatter, Style, build_function, code_of, joined
from pyproxy.telemetry.formatter_tls import tls_operator


def find_expression(operator: Operator, scope: Scope) -> Expression:
    """The expression of an operator."""
    name = operator.name
    write = _WRITERS.get(name)
    if write is not None:
        return write(operator, scope)
    if name in _NUMBERS:
        return number(_NUMBERS[name])
    if name in _TEXTS:
        return repeated(_TEXTS[name]).cut(operator.length)
    if name in _IDS:
        return text(_IDS[name]).cut(operator.length)
    if name == "COALESCE":
        return _coalesce(operator, scope)
    return tls_operator(operator, scope) or addresses.address(operator, scope) or nothing()


def _coalesce(operator: Operator, scope: Scope) -> Expression:
    """The first of some operators that has a value."""
    parts = [_part(entry) for entry in json.loads(operator.argument or "")["operators"]]

    def first(request: Request, response: Response | None) -> str | None:
        return next((value for part in parts if (value := part(request, response))), None)

    return call(scope, first, Kind.TEXT, Unset.NONE).cut(operator.length)


def _part(entry: str | Mapping[str, Any]) -> Formatter:
    """One of them as a function of its own; empty where it has no value."""
    said: Mapping[str, Any] = {"command": entry} if isinstance(entry, str) else entry
    scope = Scope()
    style = Style(unset=scope.bind(""), text="{}", value=f"{scope.bind(metadata.to_text)}({{}})")
    expression = find_expression(Operator(said["command"], said.get("param") or None, said.get("max_length")), scope)
    return build_function(
        scope,
        lambda decode: joined([code_of(expression, style, decode)]),
        lambda value: value.decode("utf-8", "surrogateescape"),
    )


def _flags(operator: Operator, scope: Scope) -> Expression:
    # `-` even where unset operators are left out, as in Envoy.
    which = 1 if operator.name.endswith("_LONG") else 0

    def names(flags: tuple[ResponseFlag, ...]) -> str:
        return ",".join([flag.value[which] for flag in flags]) or "-"

    code = f"{scope.bind(names)}(info.flags) if info.flags else {scope.bind('-')}"
    return made(scope, "info.flags", names, Unset.NEVER, code)


def _response_code_details(operator: Operator, scope: Scope) -> Expression:
    if operator.argument == "ALLOW_WHITESPACES":
        return repeated("info.details")
    code = f"info.details.replace({scope.bind(' ')}, {scope.bind('_')})"
    return made(scope, "info.details", lambda details: details.replace(" ", "_"), code=code)


def _environment(operator: Operator, scope: Scope) -> Expression:
    value = os.environ.get(operator.argument or "", "-")
    return constant(scope, value).cut(operator.length)


def _hostname(operator: Operator, scope: Scope) -> Expression:
    return constant(scope, os.uname().nodename or "-")


def _unique_id(operator: Operator, scope: Scope) -> Expression:
    return call(scope, lambda request, response: str(uuid.uuid4()), Kind.TEXT, Unset.NEVER)


def _cel(operator: Operator, scope: Scope) -> Expression:
    # Imported by the first expression: see `config.cel`.
    from pyproxy.telemetry.cel import CelExpression, cel_json, cel_text

    evaluate = CelExpression(operator.argument or "")
    typed = operator.name == "TYPED_CEL"

    def value(request: Request, response: Response | None) -> Any:
        found = evaluate(request, response)
        return None if found is None else cel_json(found) if typed else cel_text(found)

    return call(scope, value, Kind.VALUE if typed else Kind.TEXT, Unset.NONE).cut(operator.length)


def _local_reply_body(operator: Operator, scope: Scope) -> Expression:
    return Expression(Kind.BYTES, "info.local_reply_body")


def _stream_id(operator: Operator, scope: Scope) -> Expression:
    # The request id, unless something gave the stream another one.
    request_id = f"first({scope.bind(b'x-request-id')})"
    return Expression(Kind.BYTES, f"info.stream_id.encode() if info.stream_id else {request_id}", Unset.NONE)


def _close_type(operator: Operator, scope: Scope) -> Expression:
    return text(f"upstream.close_type if upstream.host_address else {scope.bind('')}")


_TEXTS: Final[dict[str, str]] = {
    **addresses.UPSTREAM_TEXTS,
    "PROTOCOL": "info.protocol",
    "UPSTREAM_PROTOCOL": "upstream.protocol",
    "ROUTE_NAME": "info.route_name",
    "VIRTUAL_CLUSTER_NAME": "info.virtual_cluster",
    "UPSTREAM_CLUSTER": "upstream.observability_name or upstream.cluster",
    "UPSTREAM_CLUSTER_RAW": "upstream.cluster",
    "UPSTREAM_TRANSPORT_FAILURE_REASON": "upstream.transport_failure_reason",
    "UPSTREAM_LOCAL_CLOSE_REASON": "upstream.local_close_reason",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON": "connection.transport_failure_reason",
    "DOWNSTREAM_DETECTED_CLOSE_TYPE": "connection.close_type",
    "DOWNSTREAM_LOCAL_CLOSE_REASON": "connection.local_close_reason",
    "CONNECTION_TERMINATION_DETAILS": "connection.termination_details",
    "LISTENER_NAME": "connection.listener_name",
    "FILTER_CHAIN_NAME": "connection.filter_chain_name",
    "DOWNSTREAM_TLS_VERSION": "(connection.tls and connection.tls.version)",
    "DOWNSTREAM_TLS_CIPHER": "(connection.tls and connection.tls.cipher)",
    "DOWNSTREAM_PEER_SUBJECT": "(connection.tls and connection.tls.peer_subject)",
    "DOWNSTREAM_LOCAL_URI_SAN": "(connection.tls and ','.join(connection.tls.local_uri_sans))",
    "DOWNSTREAM_PEER_URI_SAN": "(connection.tls and connection.tls.peer_uri_san)",
}

_IDS: Final[dict[str, str]] = {
    "TRACE_ID": "info.trace_id",
    "SPAN_ID": "info.span_id",
}

_NUMBERS: Final[dict[str, str]] = {
    "RESPONSE_CODE": "info.status",
    "BYTES_RECEIVED": "info.bytes_received",
    "BYTES_SENT": "info.bytes_sent",
    "BYTES_RETRANSMITTED": "0",
    "PACKETS_RETRANSMITTED": "0",
    "DOWNSTREAM_WIRE_BYTES_RECEIVED": "info.wire_received",
    "DOWNSTREAM_WIRE_BYTES_SENT": "info.wire_sent",
    "DOWNSTREAM_HEADER_BYTES_RECEIVED": "info.header_received",
    "DOWNSTREAM_HEADER_BYTES_SENT": "info.header_sent",
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED": "info.header_received",
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT": "info.header_sent",
    "UPSTREAM_WIRE_BYTES_RECEIVED": "upstream.wire_received",
    "UPSTREAM_WIRE_BYTES_SENT": "upstream.wire_sent",
    "UPSTREAM_HEADER_BYTES_RECEIVED": "upstream.header_received",
    "UPSTREAM_HEADER_BYTES_SENT": "upstream.header_sent",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED": "upstream.header_received",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT": "upstream.header_sent",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": "info.attempts",
    "CONNECTION_ID": "connection.connection_id",
    "UPSTREAM_CONNECTION_ID": "upstream.connection_id",
}

_WRITERS: Final[dict[str, Callable[[Operator, Scope], Expression]]] = {
    "CEL": _cel,
    "TYPED_CEL": _cel,
    "START_TIME": times.start_time,
    "START_TIME_LOCAL": times.start_time_local,
    "EMIT_TIME": times.emit_time,
    "EMIT_TIME_LOCAL": times.emit_time_local,
    "DURATION": times.duration,
    "COMMON_DURATION": times.common_duration,
    "REQUEST_DURATION": lambda _, __: times.between("DS_RX_BEG", "DS_RX_END"),
    "REQUEST_TX_DURATION": lambda _, __: times.between("DS_RX_BEG", "US_TX_END"),
    "RESPONSE_DURATION": lambda _, __: times.between("DS_RX_BEG", "US_RX_BEG"),
    "RESPONSE_TX_DURATION": lambda _, __: times.between("US_RX_BEG", "DS_TX_END"),
    "UPSTREAM_CONNECTION_POOL_READY_DURATION": times.pool_ready,
    "REQ": headers.request_header,
    "REQUEST_HEADER": headers.request_header,
    "RESP": headers.response_header,
    "RESPONSE_HEADER": headers.response_header,
    "TRAILER": headers.response_trailer,
    "RESPONSE_TRAILER": headers.response_trailer,
    "REQUEST_HEADERS_BYTES": headers.request_headers_bytes,
    "RESPONSE_HEADERS_BYTES": headers.response_headers_bytes,
    "RESPONSE_TRAILERS_BYTES": headers.response_trailers_bytes,
    "PATH": headers.path,
    "QUERY_PARAM": headers.query_param,
    "QUERY_PARAMS": headers.query_params,
    "REQUESTED_SERVER_NAME": headers.requested_server_name,
    "RESPONSE_FLAGS": _flags,
    "RESPONSE_FLAGS_LONG": _flags,
    "RESPONSE_CODE_DETAILS": _response_code_details,
    "GRPC_STATUS": grpc.grpc_status,
    "GRPC_STATUS_NUMBER": grpc.grpc_status_number,
    "METADATA": metadata.metadata,
    "DYNAMIC_METADATA": metadata.dynamic_metadata,
    "CLUSTER_METADATA": metadata.cluster_metadata,
    "UPSTREAM_METADATA": metadata.upstream_metadata,
    "FILTER_STATE": metadata.filter_state,
    "UPSTREAM_HOST_NAME_WITHOUT_PORT": addresses.host_name_without_port,
    "UPSTREAM_HOSTS_ATTEMPTED": addresses.hosts_attempted,
    "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT": addresses.hosts_attempted,
    "UPSTREAM_HOST_NAMES_ATTEMPTED": addresses.hosts_attempted,
    "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT": addresses.hosts_attempted,
    "UPSTREAM_CONNECTION_IDS_ATTEMPTED": addresses.connection_ids_attempted,
    "UPSTREAM_DETECTED_CLOSE_TYPE": _close_type,
    "LOCAL_REPLY_BODY": _local_reply_body,
    "ENVIRONMENT": _environment,
    "HOSTNAME": _hostname,
    "UNIQUE_ID": _unique_id,
    "STREAM_ID": _stream_id,
    "ACCESS_LOG_TYPE": lambda _, scope: text("info.log_type"),
    "CUSTOM_FLAGS": lambda _, scope: constant(scope, ""),
}
