"""OpenTelemetry's metrics of HTTP: of what downstreams ask (`http.server.*`), of what upstreams do (`http.client.*`).

Switched on by PYPROXY_HTTP_METRICS=otel. What differs from request to request is one key; the stats behind it are made
when it is first seen. There are at most 2,000 sets of attributes for each direction, as the specification of the SDK
has it ("cardinality limits"): what comes then counts with `otel.metric.overflow`, and in `otel.labels_dropped`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from pyproxy.http.message import Request
from pyproxy.http.stream_info import StreamInfo
from pyproxy.telemetry import semantic_metrics
from pyproxy.telemetry.metrics import Gauge, Histogram, StatsStore
from pyproxy.telemetry.semantic_metrics import SemanticMetric
from pyproxy.telemetry.stat_tags import labelled

VARIABLE: Final = "PYPROXY_HTTP_METRICS"
SCOPE: Final = "otel"
MOST_LABEL_SETS: Final = 2000
_OVERFLOW: Final = {"otel.metric.overflow": "true"}
_METHODS: Final = {
    name.encode(): name
    for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
}
_OTHER_METHOD: Final = "_OTHER"
_MICROSECONDS: Final = 1_000_000

Key = tuple[str, str, str, int, str, str]
"""(method, scheme or address, version or port and version, status, error, route)"""


class Row(NamedTuple):
    """The stats of one set of attributes."""

    duration: Histogram
    request_size: Histogram
    response_size: Histogram


class HttpMetrics:
    """Those of one worker."""

    def __init__(self, store: StatsStore) -> None:
        self._scope = store.scope(SCOPE)
        self._dropped = self._scope.counter("labels_dropped")
        self._active: dict[tuple[str, bytes], Gauge] = {}
        self._server: dict[Key, Row] = {}
        self._client: dict[Key, Row] = {}
        self._server_overflow: Row | None = None
        self._client_overflow: Row | None = None

    @staticmethod
    def wanted(environment: Mapping[str, str]) -> bool:
        return environment.get(VARIABLE, "").strip().lower() == "otel"

    def begin(self, request: Request) -> None:
        """A request has come."""
        self._gauge(request).value += 1

    def end(self, request: Request) -> None:
        """It is over."""
        self._gauge(request).value -= 1
        info = request.info
        method = _METHODS.get(request.method, _OTHER_METHOD)
        flag = info.flags[0].short if info.flags else ""
        error = str(info.status) if info.status >= 500 else "" if info.status else flag or "reset"
        key = (method, _scheme(request), _version(info.protocol), info.status, error, info.route_name)
        row = self._server.get(key)
        if row is None:
            row = self._server_row(key)
        row.duration.record(int((info.end - info.start) * _MICROSECONDS))
        row.request_size.record(info.bytes_received)
        row.response_size.record(info.bytes_sent)
        if info.upstream.host_address:
            self._count_upstream(method, flag, info)

    def _count_upstream(self, method: str, flag: str, info: StreamInfo) -> None:
        upstream = info.upstream
        status = info.status if upstream.response_first else 0
        error = str(status) if status >= 400 else "" if status else flag or "reset"
        key = (method, upstream.host_address, _version(upstream.protocol), status, error, "")
        row = self._client.get(key)
        if row is None:
            row = self._client_row(key)
        end = upstream.response_last or info.end
        row.duration.record(max(0, int((end - (upstream.request_sent_first or end)) * _MICROSECONDS)))
        row.request_size.record(info.bytes_received)
        row.response_size.record(info.bytes_sent if status else 0)

    # Rows

    def _gauge(self, request: Request) -> Gauge:
        key = (_METHODS.get(request.method, _OTHER_METHOD), request.scheme)
        found = self._active.get(key)
        if found is None:
            labels = {"http.request.method": key[0], "url.scheme": _scheme(request)}
            found = self._active[key] = self._scope.gauge(_name(semantic_metrics.SERVER_ACTIVE, labels))
        return found

    def _server_row(self, key: Key) -> Row:
        if len(self._server) >= MOST_LABEL_SETS:
            self._dropped.value += 1
            if self._server_overflow is None:
                self._server_overflow = self._make_server(_OVERFLOW)
            return self._server_overflow
        method, scheme, version, status, error, route = key
        labels = {"http.request.method": method, "url.scheme": scheme, "network.protocol.version": version}
        if status:
            labels["http.response.status_code"] = str(status)
        if error:
            labels["error.type"] = error
        if route:
            labels["http.route"] = route
        made = self._server[key] = self._make_server(labels)
        return made

    def _client_row(self, key: Key) -> Row:
        if len(self._client) >= MOST_LABEL_SETS:
            self._dropped.value += 1
            if self._client_overflow is None:
                self._client_overflow = self._make_client(_OVERFLOW)
            return self._client_overflow
        method, address, version, status, error, _ = key
        labels = {"http.request.method": method, "network.protocol.version": version}
        host, colon, port = address.rpartition(":")
        if colon and port.isdecimal():
            labels |= {"server.address": host.strip("[]"), "server.port": port}
        else:  # the path of a socket
            labels["server.address"] = address
        if status:
            labels["http.response.status_code"] = str(status)
        if error:
            labels["error.type"] = error
        made = self._client[key] = self._make_client(labels)
        return made

    def _make_server(self, labels: Mapping[str, str]) -> Row:
        return Row(
            self._histogram(semantic_metrics.SERVER_DURATION, labels),
            self._histogram(semantic_metrics.SERVER_REQUEST_SIZE, labels),
            self._histogram(semantic_metrics.SERVER_RESPONSE_SIZE, labels),
        )

    def _make_client(self, labels: Mapping[str, str]) -> Row:
        return Row(
            self._histogram(semantic_metrics.CLIENT_DURATION, labels),
            self._histogram(semantic_metrics.CLIENT_REQUEST_SIZE, labels),
            self._histogram(semantic_metrics.CLIENT_RESPONSE_SIZE, labels),
        )

    def _histogram(self, metric: SemanticMetric, labels: Mapping[str, str]) -> Histogram:
        return self._scope.histogram(_name(metric, labels))


def _name(metric: SemanticMetric, labels: Mapping[str, str]) -> str:
    """Within the scope, whose prefix is that of all of them."""
    return labelled(metric.name, labels)


def _scheme(request: Request) -> str:
    return "https" if request.scheme == b"https" else "http"


def _version(protocol: str) -> str:
    """`HTTP/1.1` is 1.1, `HTTP/2` is 2."""
    return protocol.partition("/")[2] or "1.1"
