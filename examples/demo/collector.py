"""A very small collector of traces: takes OTLP over HTTP and keeps the spans of the last while."""

from __future__ import annotations

import gzip
from collections import OrderedDict
from dataclasses import dataclass

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from examples.demo.layout import LOOPBACK

KEPT = 5000
"""Traces."""


@dataclass(frozen=True, slots=True)
class KeptSpan:
    """Times in nanoseconds since the epoch."""

    service: str
    name: str
    kind: str
    span: str
    parent: str
    start: int
    end: int
    tags: dict[str, str]
    events: tuple[str, ...]


class Collector:
    """Listens on a free port from `start` to `stop`."""

    def __init__(self) -> None:
        self.port = 0
        self.traces: OrderedDict[str, list[KeptSpan]] = OrderedDict()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            of = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self._keep(of.get("service.name", ""), span)
        return web.Response(content_type="application/x-protobuf")

    def _keep(self, service: str, span: trace_pb2.Span) -> None:
        kept = KeptSpan(
            service=service,
            name=span.name,
            kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
            span=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            start=span.start_time_unix_nano,
            end=span.end_time_unix_nano,
            tags={one.key: one.value.string_value or str(one.value.int_value) for one in span.attributes},
            events=tuple(one.name for one in span.events),
        )
        self.traces.setdefault(span.trace_id.hex(), []).append(kept)
        while len(self.traces) > KEPT:
            self.traces.popitem(last=False)
