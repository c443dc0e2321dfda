"""Evaluates CEL expressions over requests that are over, for access logs."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pyproxy.config.cel import compile_cel, error_type
from pyproxy.config.format import Format, Operator
from pyproxy.http.message import Headers, Pair, Request, Response
from pyproxy.telemetry.formatter import build_formatter

Get = Callable[[Request, Response | None], Any]


class CelExpression:
    """One expression. Only the attributes that it names are looked up."""

    def __init__(self, expression: str) -> None:
        """Raises BadCel."""
        self._program = compile_cel(expression)
        self._error = error_type()
        self._wanted = [
            (name, get) for name, get in _GETTERS.items() if re.search(rf"\b{re.escape(name)}\b", expression)
        ]

    def __call__(self, request: Request, response: Response | None) -> Any:
        """A plain value; None where it has none, as when it asks for a header that is not there (Envoy)."""
        data = {name: value for name, get in self._wanted if (value := get(request, response)) is not None}
        try:
            found = self._program.eval(data=data)
        except RuntimeError:  # a value that the library does not take, such as metadata with NUL in it
            return None
        return None if found.type() == self._error else found.plain_value()

    def holds(self, request: Request, response: Response | None) -> bool:
        """Whether it is true; what is no boolean is not."""
        return self(request, response) is True


def cel_text(value: Any) -> str:
    """A value in a line of text, as Envoy writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case datetime.datetime():
            return value.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
        case datetime.timedelta():
            return _duration(value)
        case bytes():
            return value.decode("utf-8", "replace")
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def cel_json(value: Any) -> Any:
    """A value in JSON: what is neither text, number nor truth is text."""
    return value if isinstance(value, bool | int | float | str) else cel_text(value)


def _duration(value: datetime.timedelta) -> str:
    """Such as 20ms, 170us, 1m5.5s (absl::FormatDuration)."""
    micros = value // datetime.timedelta(microseconds=1)
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    if micros < 1_000:
        return f"{sign}{micros}us" if micros else "0"
    if micros < 1_000_000:
        return f"{sign}{micros / 1_000:.15g}ms"
    hours, rest = divmod(micros, 3_600_000_000)
    minutes, rest = divmod(rest, 60_000_000)
    parts = [f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m")) if number]
    if rest:
        parts.append(f"{rest / 1_000_000:.15g}s")
    return sign + "".join(parts)


def _operator(name: str, argument: str | None = None) -> Get:
    """What a command operator of the access log gives, where it gives anything."""
    write = build_formatter(Format((Operator(name, argument),), omit_empty=True))

    def get(request: Request, response: Response | None) -> str | None:
        return write(request, response).encode("utf-8", "surrogateescape").decode("utf-8", "replace") or None

    return get


def _text(value: bytes) -> str:
    """CEL's strings are Unicode: what is none has question marks in it."""
    return value.decode("utf-8", "replace")


def _request_headers(request: Request, _: Response | None) -> dict[str, str]:
    pairs = [
        (b":authority", request.authority),
        (b"host", request.authority),
        (b":path", request.path),
        (b":method", request.method),
        (b":scheme", request.scheme),
    ]
    return {**_joined(request.headers), **{_text(name): _text(value) for name, value in pairs if value}}


def _joined(headers: Headers) -> dict[str, str]:
    return _map(headers.pairs)


def _map(pairs: list[Pair]) -> dict[str, str]:
    """Values of a repeated name are joined."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key, text = _text(name), _text(value)
        found[key] = f"{found[key]},{text}" if key in found else text
    return found


def _response_headers(_: Request, response: Response | None) -> dict[str, str] | None:
    if response is None:
        return None
    return {**_joined(response.headers), ":status": str(response.status)}


def _time(request: Request, _: Response | None) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(request.info.start_wall, datetime.UTC)


def _took(request: Request, _: Response | None) -> datetime.timedelta | None:
    info = request.info
    return datetime.timedelta(seconds=info.end - info.start) if info.end else None


def _backend(request: Request, _: Response | None) -> datetime.timedelta | None:
    upstream = request.info.upstream
    if not upstream.response_last or not upstream.request_sent_first:
        return None
    return datetime.timedelta(seconds=upstream.response_last - upstream.request_sent_first)


def _address(address: tuple[str, int]) -> str | None:
    host, port = address
    if not host:
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}" if port else host


def _query(request: Request, _: Response | None) -> str | None:
    return _text(request.path.partition(b"?")[2])


def _upstream_port(request: Request, _: Response | None) -> int | None:
    port = request.info.upstream.host_address.rpartition(":")[2]
    return int(port) if port.isdecimal() else None


def _grpc_status(request: Request, response: Response | None) -> int | None:
    text = _GRPC(request, response)
    return int(text) if isinstance(text, str) and text.isdecimal() else None


def _plain(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The library takes dictionaries only, as deep as they are."""
    if value is None:
        return None
    return {key: _plain(one) if isinstance(one, Mapping) else one for key, one in value.items()}


_GRPC: Final = _operator("GRPC_STATUS_NUMBER")
_PEER_DIGEST: Final = _operator("DOWNSTREAM_PEER_FINGERPRINT_256")
_GETTERS: Final[dict[str, Get]] = {
    "request.path": lambda request, _: _text(request.path),
    "request.url_path": lambda request, _: _text(request.path.partition(b"?")[0]),
    "request.host": lambda request, _: _text(request.authority),
    "request.scheme": lambda request, _: _text(request.scheme),
    "request.method": lambda request, _: _text(request.method),
    "request.headers": _request_headers,
    "request.referer": _operator("REQ", "REFERER"),
    "request.useragent": _operator("REQ", "USER-AGENT"),
    "request.time": _time,
    "request.id": _operator("REQ", "X-REQUEST-ID"),
    "request.protocol": lambda request, _: request.info.protocol or None,
    "request.query": _query,
    "request.duration": _took,
    "request.size": lambda request, _: request.info.bytes_received,
    "request.total_size": lambda request, _: request.info.wire_received,
    "response.code": lambda request, _: request.info.status or None,
    "response.code_details": lambda request, _: request.info.details or None,
    "response.headers": _response_headers,
    "response.trailers": lambda request, _: _map(request.info.response_trailers or []),
    "response.size": lambda request, _: request.info.bytes_sent,
    "response.total_size": lambda request, _: request.info.wire_sent,
    "response.grpc_status": _grpc_status,
    "response.backend_latency": _backend,
    "source.address": lambda request, _: _address(request.info.connection.remote),
    "source.port": lambda request, _: request.info.connection.remote[1],
    "destination.address": lambda request, _: _address(request.info.connection.local),
    "destination.port": lambda request, _: request.info.connection.local[1],
    "connection.id": lambda request, _: request.info.connection.connection_id,
    "connection.mtls": lambda request, _: (
        request.info.connection.tls is not None and _PEER_DIGEST(request, None) is not None
    ),
    "connection.requested_server_name": _operator("REQUESTED_SERVER_NAME"),
    "connection.tls_version": _operator("DOWNSTREAM_TLS_VERSION"),
    "connection.subject_peer_certificate": _operator("DOWNSTREAM_PEER_SUBJECT"),
    "connection.subject_local_certificate": _operator("DOWNSTREAM_LOCAL_SUBJECT"),
    "connection.dns_san_peer_certificate": _operator("DOWNSTREAM_PEER_DNS_SAN"),
    "connection.uri_san_peer_certificate": _operator("DOWNSTREAM_PEER_URI_SAN"),
    "connection.uri_san_local_certificate": _operator("DOWNSTREAM_LOCAL_URI_SAN"),
    "connection.sha256_peer_certificate_digest": _operator("DOWNSTREAM_PEER_FINGERPRINT_256"),
    "connection.termination_details": lambda request, _: request.info.connection.termination_details or None,
    "connection.transport_failure_reason": lambda request, _: request.info.connection.transport_failure_reason or None,
    "upstream.address": lambda request, _: request.info.upstream.host_address or None,
    "upstream.port": _upstream_port,
    "upstream.local_address": lambda request, _: _address(request.info.upstream.local),
    "upstream.transport_failure_reason": _operator("UPSTREAM_TRANSPORT_FAILURE_REASON"),
    "upstream.request_attempt_count": lambda request, _: request.info.attempts,
    "metadata.filter_metadata": lambda request, _: _plain(request.info.dynamic_metadata) or {},
    "xds.cluster_name": lambda request, _: request.info.upstream.cluster or None,
    "xds.cluster_metadata": lambda request, _: _plain(request.info.upstream.cluster_metadata),
    "xds.route_name": lambda request, _: request.info.route_name,
    "xds.route_metadata": lambda request, _: _plain(request.info.route_metadata),
    "xds.virtual_host_name": lambda request, _: request.info.virtual_host,
    "xds.virtual_host_metadata": lambda request, _: _plain(request.info.virtual_host_metadata),
    "xds.upstream_host_metadata": lambda request, _: _plain(request.info.upstream.host_metadata),
    "xds.filter_chain_name": lambda request, _: request.info.connection.filter_chain_name,
}
"""How each of `config.cel.ATTRIBUTES` is found; None where the request has none."""
