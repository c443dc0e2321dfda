"""Sends spans to one collector: OTLP over gRPC or HTTP, or Zipkin.

Envoy's runtime keys say how many spans are waited for and how long (`tracing.<tracer>.min_flush_spans`,
`.flush_interval_ms`), and where they are silent OTEL_BSP_* do (OpenTelemetry: "Batch Span Processor").
"""

from __future__ import annotations

import gzip
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.server.exporting.batcher import Batcher, BatchLimits, Busy, Counts, Refused
from pyproxy.server.exporting.destination import Destination, FindCluster
from pyproxy.server.exporting.environment import export_settings, number_of
from pyproxy.server.exporting.grpc_sender import GRPC_ERRORS, GrpcSender
from pyproxy.server.exporting.http_sender import HttpSender
from pyproxy.server.exporting.otlp import TRACES, traces_request
from pyproxy.server.exporting.resource import resource_attributes
from pyproxy.server.exporting.zipkin import zipkin_body

_BUSY: Final = frozenset((429, 502, 503, 504))


class SpanExporter:
    """Implements `server.exporting.hub.Exporter`."""

    def __init__(self, target: ExportTarget, find: FindCluster, values: RuntimeValues, counts: Counts) -> None:
        self._target = target
        self._settings = export_settings("TRACES")
        self._resource = resource_attributes(target.attributes)
        destination = Destination(target.cluster, find)
        headers = (*self._settings.headers, *target.headers)
        self._timeout = target.timeout or self._settings.timeout
        self._sender: GrpcSender | HttpSender
        if target.kind is ExportKind.OTLP_GRPC:
            self._sender, send = GrpcSender(destination, target.authority, headers), self._send_grpc
        else:
            self._sender = HttpSender(destination, target.authority, target.path, headers)
            send = self._send_zipkin if target.kind is ExportKind.ZIPKIN else self._send_http
        self._batcher = Batcher(f"the collector {target.cluster!r}", send, _limits(target.kind, values), counts)

    def offer(self, items: list[Any]) -> None:
        self._batcher.offer(items)

    async def close(self, seconds: float) -> None:
        await self._batcher.close(seconds)
        self._sender.close()

    async def _send_grpc(self, batch: list[Any]) -> None:
        assert isinstance(self._sender, GrpcSender)
        request = traces_request(batch, self._resource)
        try:
            await self._sender.call(TRACES, request, ExportTraceServiceResponse, self._timeout)
        except GRPC_ERRORS as error:
            raise Busy(str(error)) from error

    async def _send_http(self, batch: list[Any]) -> None:
        body = traces_request(batch, self._resource).SerializeToString()
        if self._settings.compress:
            await self._post(gzip.compress(body, 1), "application/x-protobuf", "gzip")
        else:
            await self._post(body, "application/x-protobuf")

    async def _send_zipkin(self, batch: list[Any]) -> None:
        await self._post(zipkin_body(batch, self._resource["service.name"]), "application/json")

    async def _post(self, body: bytes, content_type: str, encoding: str = "") -> None:
        assert isinstance(self._sender, HttpSender)
        status = await self._sender.post(body, content_type, encoding=encoding)
        if status in _BUSY:
            raise Busy(f"it answers {status}")
        if status >= 300:
            raise Refused(f"it answers {status}")


def _limits(kind: ExportKind, values: RuntimeValues) -> BatchLimits:
    tracer = "zipkin" if kind is ExportKind.ZIPKIN else "opentelemetry"
    defaults = BatchLimits()
    delay = number_of("OTEL_BSP_SCHEDULE_DELAY", defaults.interval * 1000)
    return BatchLimits(
        interval=values.number(f"tracing.{tracer}.flush_interval_ms", delay) / 1000,
        soon=max(1, int(values.number(f"tracing.{tracer}.min_flush_spans", defaults.soon))),
        most=max(1, int(number_of("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", defaults.most))),
        queue=max(1, int(number_of("OTEL_BSP_MAX_QUEUE_SIZE", defaults.queue))),
        timeout=number_of("OTEL_BSP_EXPORT_TIMEOUT", defaults.timeout * 1000) / 1000,
    )
