"""What a span tells: Envoy's tags, and OpenTelemetry's semantic conventions for HTTP where the collector speaks OTLP.

Envoy: Tracing::HttpTracerUtility. OpenTelemetry: "Semantic conventions for HTTP spans" 1.44 (stable). A record is plain
data, because it goes through the channel to the manager: see `SpanRecord`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypedDict

from pyproxy import clock
from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.config.tracing import TracingConfig
from pyproxy.http.message import Request, Response
from pyproxy.telemetry.formatter import log_text

if TYPE_CHECKING:
    from pyproxy.telemetry.tracer import Span

SERVER, CLIENT = 2, 3
"""opentelemetry.proto.trace.v1.Span.SpanKind."""
_METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"))
_CLIENT_ERROR: Final = 400
"""From this status on a client span has failed; a server span does from 500 on."""

Value = str | int | bool
Tags = dict[str, Value]


class SpanRecord(TypedDict):
    """One finished span. Times are nanoseconds since the epoch."""

    trace: str
    span: str
    parent: str
    state: str
    name: str
    kind: int
    start: int
    end: int
    failed: bool
    metric: str
    """The histogram that its duration went into; empty for none."""
    shared: bool
    """Its id is that of the client span that it answers to."""
    tags: Tags
    events: list[tuple[int, str, Tags]]


class SpanWriter:
    """Writes the records of one connection manager's spans."""

    def __init__(self, config: TracingConfig, node: NodeConfig, metric: str = "") -> None:
        self._metric = metric
        self._config = config
        tracer = config.tracer
        kind = None if tracer is None else tracer.target.kind
        self._zipkin = kind is ExportKind.ZIPKIN
        self._conventions = not self._zipkin
        self._local: Tags = {"node_id": node.id, "zone": node.zone}
        self._shared = tracer is not None and tracer.shared
        self._parents = config.upstream_spans or (tracer is not None and tracer.split)
        if tracer is not None:
            service = node.cluster if self._zipkin else tracer.service_name
            self.target: ExportTarget = replace(
                tracer.target, attributes=(*tracer.target.attributes, ("service.name", service))
            )

    def records(self, span: Span, request: Request, response: Response | None) -> Iterator[SpanRecord]:
        """Those of the tries first, as they ended first."""
        own, info = span.identity, request.info
        events = self._events(span, request) if self._config.verbose else []
        events.extend(_failed_tries(span))
        if self._parents:
            ends = [begin for begin, _, _ in span.tries[1:]] + [info.end]
            for number, (begin, attempt, identity) in enumerate(span.tries):
                yield self._try_record(span, request, number, (begin, ends[number]), attempt, identity)
        outbound = info.connection.outbound and not self._parents
        yield {
            "trace": own.trace_id,
            "span": own.span_id,
            "parent": own.parent_id,
            "state": own.state.decode("latin-1"),
            "name": self._name(span, request, response),
            "kind": CLIENT if outbound else SERVER,
            "start": nanoseconds(info.start),
            "end": nanoseconds(info.end),
            "failed": info.status >= 500 or not info.status or bool(_grpc_error(response)),
            "metric": self._metric,
            "shared": self._shared,
            "tags": self._server_tags(span, request, response),
            "events": events,
        }

    def _name(self, span: Span, request: Request, response: Response | None) -> str:
        if span.operation:
            return span.operation
        if span.side.name is not None:
            chosen = span.side.name(request, response)
            if chosen:
                return chosen
        host = log_text(request.authority)
        if self._zipkin:
            return host
        return f"egress {host}" if request.info.connection.outbound else "ingress"

    def _server_tags(self, span: Span, request: Request, response: Response | None) -> Tags:
        info, index = request.info, request.headers.index
        tags = dict(self._local)
        _copy(tags, "guid:x-request-id", index.get(b"x-request-id"))
        tags["http.url"] = self._url(request)
        tags["http.method"] = log_text(request.method)
        tags["downstream_cluster"] = log_text(index.get(b"x-envoy-downstream-service-cluster", b"-"))
        tags["user_agent"] = log_text(index.get(b"user-agent", b"-"))
        tags["http.protocol"] = info.protocol or "-"
        tags["peer.address"] = info.connection.direct_remote[0]
        _copy(tags, "guid:x-client-trace-id", index.get(b"x-client-trace-id"))
        _grpc_request(tags, request)
        tags["request_size"] = str(info.bytes_received)
        tags["response_size"] = str(info.bytes_sent)
        if self._conventions:
            tags |= _server_conventions(request)
        self._common(tags, info.upstream, info.status, ",".join(flag.short for flag in info.flags))
        for name, value, default in span.side.tags:
            text = value(request, response) or default
            if text:
                tags[name] = text
        if info.status >= 500 or not info.status:
            tags["error"] = "true"
        _grpc_response(tags, response)
        return tags

    def _common(self, tags: Tags, upstream: Any, status: int, flags: str) -> None:
        tags["component"] = "proxy"
        if upstream.cluster:
            tags["upstream_cluster"] = upstream.cluster
            tags["upstream_cluster.name"] = upstream.observability_name or upstream.cluster
        tags["http.status_code"] = str(status)
        tags["response_flags"] = flags or "-"
        if self._conventions and status:
            tags["http.response.status_code"] = status

    def _url(self, request: Request) -> str:
        index = request.headers.index
        path = index.get(b"x-envoy-original-path") or request.path
        proto = index.get(b"x-forwarded-proto", b"")
        return log_text(proto + b"://" + request.authority + path[: self._config.most_path])

    def _try_record(
        self, span: Span, request: Request, number: int, times: tuple[float, float], attempt: Any, identity: Any
    ) -> SpanRecord:
        upstream, response, error = attempt.info, attempt.response, attempt.error
        status = 0 if response is None else response.status
        flags = "" if error is None or error.flag is None else error.flag.short
        tags: Tags = {"retry.count": str(number)} if number else {}
        tags["http.protocol"] = upstream.protocol or request.info.protocol
        if upstream.host_address:
            tags["upstream_address"] = tags["peer.address"] = upstream.host_address
        if self._conventions:
            tags |= _client_conventions(request, upstream, number)
            if error is not None:
                tags["error.type"] = error.details or flags
            elif status >= 400:
                tags["error.type"] = str(status)
        self._common(tags, upstream, status, flags)
        if status >= 500 or not status:
            tags["error"] = "true"
        name = "" if span.side.upstream_name is None else span.side.upstream_name(request, response)
        return {
            "trace": identity.trace_id,
            "span": identity.span_id,
            "parent": identity.parent_id,
            "state": identity.state.decode("latin-1"),
            "name": name or f"router {upstream.observability_name or upstream.cluster} egress",
            "kind": CLIENT,
            "start": nanoseconds(times[0]),
            "end": nanoseconds(upstream.response_last or times[1]),
            "failed": status >= _CLIENT_ERROR or not status,
            "metric": "",
            "shared": False,
            "tags": tags,
            "events": [],
        }

    def _events(self, span: Span, request: Request) -> list[tuple[int, str, Tags]]:
        """When what happened (Envoy: `verbose`)."""
        info, upstream = request.info, request.info.upstream
        moments = {
            "last_downstream_rx_byte_received": info.request_end,
            "first_upstream_tx_byte_sent": upstream.request_sent_first,
            "last_upstream_tx_byte_sent": upstream.request_sent_last,
            "first_upstream_rx_byte_received": upstream.response_first,
            "last_upstream_rx_byte_received": upstream.response_last,
            "first_downstream_tx_byte_sent": info.response_start,
            "last_downstream_tx_byte_sent": info.end,
        }
        return [(nanoseconds(moment), name, {}) for name, moment in moments.items() if moment]


def nanoseconds(moment: float) -> int:
    """Since the epoch, of a `clock.monotonic` time."""
    return int((moment + clock.wall_offset) * 1e9)


def _failed_tries(span: Span) -> Iterator[tuple[int, str, Tags]]:
    """One event for each try that was not the last."""
    for number, (_, attempt, _) in enumerate(span.tries[:-1]):
        begin = span.tries[number + 1][0]
        response, error = attempt.response, attempt.error
        what = str(response.status) if response is not None else "" if error is None else error.details
        yield (
            nanoseconds(begin),
            "retry",
            {"retry.count": number + 1, "upstream_address": attempt.info.host_address, "reason": what},
        )


def _server_conventions(request: Request) -> Tags:
    info = request.info
    connection = info.connection
    path, _, query = request.path.partition(b"?")
    tags: Tags = {
        "http.request.method": _method(request),
        "url.path": log_text(path),
        "url.scheme": log_text(request.scheme),
        "network.protocol.version": _version(info.protocol),
        "client.address": connection.remote[0],
        "network.peer.address": connection.direct_remote[0],
    }
    if query:
        tags["url.query"] = log_text(query)
    if connection.direct_remote[1]:
        tags["network.peer.port"] = connection.direct_remote[1]
    host, port = _host_port(request)
    if host:
        tags["server.address"] = host
    if port:
        tags["server.port"] = port
    _copy(tags, "user_agent.original", request.headers.index.get(b"user-agent"))
    if request.route is not None:
        tags["http.route"] = request.route.config.match.path
    if info.status >= 500 or not info.status:
        tags["error.type"] = info.details or str(info.status)
    return tags


def _client_conventions(request: Request, upstream: Any, number: int) -> Tags:
    host, port = _host_port(request)
    tags: Tags = {
        "http.request.method": _method(request),
        "url.full": log_text(request.scheme + b"://" + request.authority + request.path),
        "server.address": host or upstream.host_name,
        "network.protocol.version": _version(upstream.protocol),
    }
    address, _, peer_port = upstream.host_address.rpartition(":")
    if address and peer_port.isdecimal():
        tags["network.peer.address"], tags["network.peer.port"] = address.strip("[]"), int(peer_port)
    tags["server.port"] = port or (443 if request.scheme == b"https" else 80)
    if number:
        tags["http.request.resend_count"] = number
    return tags


def _method(request: Request) -> str:
    return request.method.decode() if request.method in _METHODS else "_OTHER"


def _version(protocol: str) -> str:
    return protocol.rpartition("/")[2]


def _host_port(request: Request) -> tuple[str, int]:
    host, colon, port = request.authority.rpartition(b":")
    if colon and port.isdigit():
        return log_text(host), int(port)
    return log_text(request.authority), 0


def _copy(tags: Tags, name: str, value: bytes | None) -> None:
    if value is not None:
        tags[name] = log_text(value)


def _grpc_request(tags: Tags, request: Request) -> None:
    index = request.headers.index
    if index.get(b"content-type", b"")[:16] != b"application/grpc":
        return
    tags["grpc.path"] = log_text(request.path)
    tags["grpc.authority"] = log_text(request.authority)
    tags["grpc.content_type"] = log_text(index[b"content-type"])
    _copy(tags, "grpc.timeout", index.get(b"grpc-timeout"))


def _grpc_response(tags: Tags, response: Response | None) -> None:
    found = _grpc_status(response)
    if found is None:
        return
    tags["grpc.status_code"] = log_text(found[b"grpc-status"])
    _copy(tags, "grpc.message", found.get(b"grpc-message"))
    if _grpc_error(response):
        tags["error"] = "true"


def _grpc_status(response: Response | None) -> Mapping[bytes, bytes] | None:
    if response is None:
        return None
    return response.headers.index if b"grpc-status" in response.headers.index else None


def _grpc_error(response: Response | None) -> bool:
    """Those codes that are the server's fault (Envoy: Unknown, DeadlineExceeded, Unimplemented, Internal, Unavailable,
    DataLoss)."""
    found = _grpc_status(response)
    return found is not None and found[b"grpc-status"] in (b"2", b"4", b"12", b"13", b"14", b"15")
