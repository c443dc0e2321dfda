"""Access log entries for collectors: what a finished request becomes, as plain data on its way to the manager.

Entries for Envoy's access log service have the shape of its messages (envoy.data.accesslog.v3): the manager need
only fill them in. OpenTelemetry records have a body and attributes that were built from formats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from pyproxy import clock
from pyproxy.config.access_log import Map, RecordEntry, ServiceEntry
from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.config.format import Format
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.stream_info import StreamInfo
from pyproxy.telemetry.formatter import build_formatter, log_text
from pyproxy.telemetry.formatter_metadata import to_json
from pyproxy.telemetry.formatter_source import Formatter

Entry = dict[str, Any]
Write = Callable[[Request, Response | None], Entry]

_VERSIONS: Final = {"HTTP/1.0": "HTTP10", "HTTP/1.1": "HTTP11", "HTTP/2": "HTTP2"}
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
_TLS_VERSIONS: Final = {"TLSv1": "TLSv1", "TLSv1.1": "TLSv1_1", "TLSv1.2": "TLSv1_2", "TLSv1.3": "TLSv1_3"}
_NANO: Final = 1_000_000_000


def build_entry(target: ExportTarget, config: ServiceEntry | RecordEntry) -> Write:
    """A function that writes one entry."""
    if isinstance(config, RecordEntry):
        return _record(config)
    return _tcp_entry(config) if target.kind is ExportKind.ALS_TCP else _http_entry(config)


# OpenTelemetry


def _record(config: RecordEntry) -> Write:
    body = _template(config.body)
    attributes = _template(Map(config.attributes))

    def write(request: Request, response: Response | None) -> Entry:
        info = request.info
        return {
            "time": int(info.start_wall * 1e9),
            "body": body(request, response),
            "attributes": attributes(request, response),
            "trace": info.trace_id,
            "span": info.span_id,
        }

    return write


def _template(value: Any) -> Callable[[Request, Response | None], Any]:
    match value:
        case Format():
            return build_formatter(value)
        case Map():
            parts = {key: _template(one) for key, one in value.items}
            return lambda request, response: {key: one(request, response) for key, one in parts.items()}
        case tuple():
            items = [_template(one) for one in value]
            return lambda request, response: [one(request, response) for one in items]
        case _:
            return lambda request, response: value


# Envoy's access log service


def _http_entry(config: ServiceEntry) -> Write:
    common = _common(config)

    def write(request: Request, response: Response | None) -> Entry:
        info = request.info
        made: Entry = {"common_properties": common(request, response), "request": _request(request, config)}
        version = _VERSIONS.get(info.protocol)
        if version is not None:
            made["protocol_version"] = version
        made["response"] = _response(info, response, config)
        return made

    return write


def _tcp_entry(config: ServiceEntry) -> Write:
    common = _common(config)

    def write(request: Request, response: Response | None) -> Entry:
        info = request.info
        return {
            "common_properties": common(request, response),
            "connection_properties": {"received_bytes": info.bytes_received, "sent_bytes": info.bytes_sent},
        }

    return write


def _common(config: ServiceEntry) -> Write:
    tags: list[tuple[str, Formatter, str | None]] = [
        (one.name, build_formatter(one.value), one.default) for one in config.tags
    ]

    def write(request: Request, response: Response | None) -> Entry:
        info = request.info
        connection, upstream = info.connection, info.upstream
        nanos = int(info.start_wall * 1e9)
        made: Entry = {
            "downstream_remote_address": _address(connection.remote),
            "downstream_local_address": _address(connection.local),
            "downstream_direct_remote_address": _address(connection.direct_remote),
            "start_time": {"seconds": nanos // _NANO, "nanos": nanos % _NANO},
            "duration": _since(info.start, info.end or clock.now),
            "access_log_type": info.log_type,
            "upstream_cluster": upstream.observability_name or upstream.cluster,
            "route_name": info.route_name,
            "upstream_request_attempt_count": info.attempts,
            "stream_id": info.stream_id or log_text(request.headers.index.get(b"x-request-id", b"")),
            "downstream_wire_bytes_sent": info.wire_sent,
            "downstream_wire_bytes_received": info.wire_received,
            "upstream_wire_bytes_sent": upstream.wire_sent,
            "upstream_wire_bytes_received": upstream.wire_received,
            "upstream_transport_failure_reason": upstream.transport_failure_reason,
            "downstream_transport_failure_reason": connection.transport_failure_reason,
            "connection_termination_details": connection.termination_details,
        }
        made |= _moments(info)
        if upstream.host_address:
            made["upstream_remote_address"] = _host_address(upstream.host_address)
        if upstream.local[0]:
            made["upstream_local_address"] = _address(upstream.local)
        if info.flags:
            made["response_flags"] = [flag.short for flag in info.flags]
        if connection.tls is not None:
            made["tls_properties"] = _tls(connection.tls, connection.requested_server_name)
        if info.dynamic_metadata:
            made["metadata"] = {key: to_json(value) for key, value in info.dynamic_metadata.items()}
        found = {name: text for name, value, default in tags if (text := value(request, response) or default)}
        if found:
            made["custom_tags"] = found
        states = info.filter_state
        if states and config.filter_states:
            made["filter_state_objects"] = {name: str(states[name]) for name in config.filter_states if name in states}
        return {name: value for name, value in made.items() if value}

    return write


def _moments(info: StreamInfo) -> Entry:
    """Times since the start; what did not happen is left out."""
    upstream = info.upstream
    moments = {
        "time_to_last_rx_byte": info.request_end,
        "time_to_first_upstream_tx_byte": upstream.request_sent_first,
        "time_to_last_upstream_tx_byte": upstream.request_sent_last,
        "time_to_first_upstream_rx_byte": upstream.response_first,
        "time_to_last_upstream_rx_byte": upstream.response_last,
        "time_to_first_downstream_tx_byte": info.response_start,
        "time_to_last_downstream_tx_byte": info.end if info.response_start else 0.0,
    }
    return {name: _since(info.start, moment) for name, moment in moments.items() if moment}


def _request(request: Request, config: ServiceEntry) -> Entry:
    info, index = request.info, request.headers.index
    if not request.method:
        return {}
    method = log_text(request.method)
    made: Entry = {
        "request_method": method if method in _METHODS else "METHOD_UNSPECIFIED",
        "scheme": log_text(request.scheme),
        "authority": log_text(request.authority),
        "path": log_text(request.path),
        "user_agent": _text(index, b"user-agent"),
        "referer": _text(index, b"referer"),
        "forwarded_for": _text(index, b"x-forwarded-for"),
        "request_id": _text(index, b"x-request-id"),
        "original_path": _text(index, b"x-envoy-original-path"),
        "request_headers_bytes": _bytes(request.headers) + _pseudo_bytes(request),
        "request_body_bytes": info.bytes_received,
        "request_headers": _chosen(request.headers, config.request_headers),
        "upstream_header_bytes_sent": info.upstream.header_sent,
        "downstream_header_bytes_received": info.header_received,
    }
    return {name: value for name, value in made.items() if value}


def _response(info: StreamInfo, response: Response | None, config: ServiceEntry) -> Entry:
    made: Entry = {
        "response_code": info.status,
        "response_body_bytes": info.bytes_sent,
        "response_code_details": info.details,
        "upstream_header_bytes_received": info.upstream.header_received,
        "downstream_header_bytes_sent": info.header_sent,
    }
    if response is not None:
        made["response_headers_bytes"] = _bytes(response.headers) + len(":status200")
        made["response_headers"] = _chosen(response.headers, config.response_headers)
    if info.response_trailers and config.response_trailers:
        made["response_trailers"] = _chosen(Headers(info.response_trailers), config.response_trailers)
    return {name: value for name, value in made.items() if value}


def _chosen(headers: Headers, names: Iterable[bytes]) -> dict[str, str]:
    return {name.decode(): log_text(headers.joined(name) or b"") for name in names if name in headers.index}


def _bytes(headers: Headers) -> int:
    return sum([len(name) + len(value) for name, value in headers.pairs])


def _pseudo_bytes(request: Request) -> int:
    values = len(request.method) + len(request.path) + len(request.authority) + len(request.scheme)
    return values + len(":method:path:authority:scheme")


def _text(index: dict[bytes, bytes], name: bytes) -> str:
    return log_text(index.get(name, b""))


def _address(address: tuple[str, int]) -> Entry:
    host, port = address
    if not port and not host:
        return {}
    if not port and not host[:1].isdigit() and ":" not in host:
        return {"pipe": {"path": host}}
    return {"socket_address": {"address": host, "port_value": port}}


def _host_address(text: str) -> Entry:
    host, colon, port = text.rpartition(":")
    return _address((host.strip("[]"), int(port))) if colon and port.isdecimal() else _address((text, 0))


def _since(start: float, moment: float) -> Entry:
    nanos = max(0, int((moment - start) * 1e9))
    return {"seconds": nanos // _NANO, "nanos": nanos % _NANO}


def _tls(tls: Any, server_name: str) -> Entry:
    peer = {
        "subject_alt_name": [
            *({"uri": name} for name in tls.peer_sans("URI")),
            *({"dns": name} for name in tls.peer_sans("DNS")),
        ],
        "subject": tls.peer_subject,
    }
    made: Entry = {"peer_certificate_properties": {name: value for name, value in peer.items() if value}}
    version = _TLS_VERSIONS.get(tls.version)
    if version is not None:
        made["tls_version"] = version
    if server_name:
        made["tls_sni_hostname"] = server_name
    if tls.local_uri_sans:
        made["local_certificate_properties"] = {"subject_alt_name": [{"uri": name} for name in tls.local_uri_sans]}
    return made
