"""Spans sent to collectors: OTLP over HTTP and gRPC, Zipkin; with TLS, and with what OTEL_* say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from grpclib.const import Cardinality, Handler
from grpclib.server import Server, Stream
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from pyproxy.config.address import AddressConfig
from pyproxy.config.cluster import ClusterConfig, EndpointConfig
from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.server.exporting.export_stats import ExportCounts
from pyproxy.server.exporting.span_exporter import SpanExporter
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.span_tags import SERVER, SpanRecord
from tests.support.collector import Collector
from tests.support.ports import LOOPBACK

NOW = RuntimeValues(
    ({"tracing": {"opentelemetry": {"min_flush_spans": 1}, "zipkin": {"min_flush_spans": 1}}},),
)


def span(**changes: Any) -> SpanRecord:
    made: SpanRecord = {
        "trace": "0af7651916cd43dd8448eb211c80319c",
        "span": "b7ad6b7169203331",
        "parent": "05e3ac9a4f6e3b90",
        "state": "a=b",
        "name": "ingress",
        "kind": SERVER,
        "start": 1_000_000_000,
        "end": 1_000_005_000,
        "failed": True,
        "metric": "http.in.downstream_rq_time",
        "shared": True,
        "tags": {"text": "t", "number": 3, "yes": True, "broken": "\udcff"},
        "events": [(1_000_001_000, "retry", {"retry.count": 1})],
    }
    return {**made, **changes}  # type: ignore[typeddict-item]


def target(kind: ExportKind, **changes: Any) -> ExportTarget:
    return ExportTarget(
        kind,
        "collector",
        "authority.test",
        "/path?x=1",
        headers=(("x-h", "v"),),
        attributes=(("service.name", "svc"),),
        **changes,
    )


class Bench:
    """An exporter for a collector on a port of this machine."""

    def __init__(self, made: ExportTarget, port: int) -> None:
        self.store = StatsStore()
        hosts = (EndpointConfig(AddressConfig(LOOPBACK, port)),)
        cluster = ClusterConfig("collector", endpoints=hosts)
        counts = ExportCounts(self.store, made.kind)
        self.exporter = SpanExporter(made, {"collector": cluster}.get, NOW, counts)

    def count(self, name: str) -> int:
        return self.store.counter(name).value


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector.start()
    yield made
    made.stop()


async def test_otlp_over_http(collector: Collector) -> None:
    bench = Bench(target(ExportKind.OTLP_HTTP), collector.port)
    bench.exporter.offer([span(), span(failed=False, parent="", state="")])
    await bench.exporter.close(5)
    (request,) = collector.received
    assert request.path == "/path?x=1"
    assert (request.headers["host"], request.headers["x-h"]) == ("authority.test", "v")
    assert request.headers["content-type"] == "application/x-protobuf"
    (resource,) = ExportTraceServiceRequest.FromString(request.body).resource_spans
    attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert attributes["service.name"] == "svc"
    assert attributes["telemetry.sdk.name"] == "pyproxy"
    first, second = resource.scope_spans[0].spans
    assert first.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert (first.span_id.hex(), first.parent_span_id.hex()) == ("b7ad6b7169203331", "05e3ac9a4f6e3b90")
    assert (first.trace_state, first.status.code, second.status.code) == ("a=b", 2, 0)
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (1_000_000_000, 1_000_005_000)
    values = {one.key: one.value for one in first.attributes}
    assert values["number"].int_value == 3
    assert values["yes"].bool_value is True
    assert values["broken"].string_value == "\ufffd"
    assert [(event.name, event.time_unix_nano) for event in first.events] == [("retry", 1_000_001_000)]
    assert second.parent_span_id == b""
    assert bench.count("tracing.opentelemetry.spans_sent") == 2


async def test_zipkin(collector: Collector) -> None:
    bench = Bench(target(ExportKind.ZIPKIN), collector.port)
    bench.exporter.offer([span()])
    await bench.exporter.close(5)
    (found,) = collector.received[0].json()
    assert found["localEndpoint"]["serviceName"] == "svc"
    assert (found["timestamp"], found["duration"], found["kind"]) == (1_000_000, 5, "SERVER")
    assert (found["parentId"], found["shared"]) == ("05e3ac9a4f6e3b90", True)
    assert found["tags"]["number"] == "3"
    assert [one["value"] for one in found["annotations"]] == ["retry", "ss"]
    assert bench.count("tracing.zipkin.spans_sent") == 1


async def test_one_connection_serves_many_batches(collector: Collector) -> None:
    bench = Bench(target(ExportKind.OTLP_HTTP), collector.port)
    for number in range(1, 4):
        bench.exporter.offer([span()])
        while bench.count("tracing.opentelemetry.spans_sent") < number:
            await _turn()
    await bench.exporter.close(5)
    assert len(collector.received) == 3


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_a_collector_that_refuses_costs_a_counter(collector: Collector, status: int) -> None:
    collector.status = status
    bench = Bench(target(ExportKind.OTLP_HTTP), collector.port)
    bench.exporter.offer([span()])
    await bench.exporter.close(5)
    assert len(collector.received) == 1
    assert bench.count("tracing.opentelemetry.spans_dropped") == 1
    assert bench.count("tracing.opentelemetry.spans_sent") == 0


async def test_a_cluster_that_is_not_there_costs_a_counter() -> None:
    counts = ExportCounts(store := StatsStore(), ExportKind.OTLP_HTTP)
    exporter = SpanExporter(target(ExportKind.OTLP_HTTP), lambda _: None, NOW, counts)
    exporter.offer([span()])
    await exporter.close(5)
    assert store.counter("tracing.opentelemetry.spans_dropped").value == 1


async def test_the_environment_has_a_say(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x-h=overridden")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=no")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from the environment")
    made = ExportTarget(ExportKind.OTLP_HTTP, "collector", "a", "/", attributes=(("service.name", ""),))
    bench = Bench(made, collector.port)
    bench.exporter.offer([span()])
    await bench.exporter.close(5)
    (request,) = collector.received
    assert request.headers["api-key"] == "a b"
    assert request.headers["content-encoding"] == "gzip"
    (resource,) = ExportTraceServiceRequest.FromString(request.body).resource_spans
    attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert attributes["service.name"] == "from the environment"
    assert attributes["deployment.environment.name"] == "test"


class TraceService:
    """The server side of OTLP over gRPC, with the official messages."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.metadata: list[dict[str, Any]] = []

    async def export(self, stream: Stream[ExportTraceServiceRequest, ExportTraceServiceResponse]) -> None:
        request = await stream.recv_message()
        assert request is not None
        self.requests.append(request)
        self.metadata.append(dict(stream.metadata or {}))
        await stream.send_message(ExportTraceServiceResponse())

    def __mapping__(self) -> dict[str, Handler]:
        handler = Handler(self.export, Cardinality.UNARY_UNARY, ExportTraceServiceRequest, ExportTraceServiceResponse)
        return {"/opentelemetry.proto.collector.trace.v1.TraceService/Export": handler}


async def test_otlp_over_grpc() -> None:
    service = TraceService()
    server = Server([service])
    await server.start(LOOPBACK, 0)
    assert server._server is not None
    port = server._server.sockets[0].getsockname()[1]
    bench = Bench(target(ExportKind.OTLP_GRPC), port)
    bench.exporter.offer([span()])
    await bench.exporter.close(5)
    server.close()
    await server.wait_closed()
    (request,) = service.requests
    assert request.resource_spans[0].scope_spans[0].spans[0].name == "ingress"
    assert service.metadata[0]["x-h"] == "v"
    assert bench.count("tracing.opentelemetry.spans_sent") == 1


async def _turn() -> None:
    import asyncio

    await asyncio.sleep(0.001)
