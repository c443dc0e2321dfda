"""Statistics as OpenTelemetry metrics, taken by a server that is made with the official messages."""

from __future__ import annotations

from grpclib.const import Cardinality, Handler
from grpclib.server import Server, Stream
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.config.stats import SinkConfig, SinkKind
from pyproxy.server.stats_sinks.flush import Flush
from pyproxy.server.stats_sinks.otlp import METRICS, OtlpSink
from pyproxy.telemetry.histogram import bin_of
from pyproxy.telemetry.shared_reader import StatsSnapshot
from pyproxy.telemetry.stat_tags import TagExtractor
from pyproxy.telemetry.stats_rules import StatsRules
from tests.server.stats_sinks.surroundings import NOBODY, Nearby
from tests.server.stats_sinks.test_statsd import flush
from tests.support.ports import LOOPBACK

TARGET = ExportTarget(ExportKind.OTLP_GRPC, "collector", "a", attributes=(("service.name", "svc"),))
DELTA, CUMULATIVE = 1, 2


def metrics(request: ExportMetricsServiceRequest) -> dict[str, Metric]:
    return {one.name: one for one in request.resource_metrics[0].scope_metrics[0].metrics}


def test_names_have_no_tags_in_them() -> None:
    found = metrics(OtlpSink(SinkConfig(SinkKind.OTLP, "p", target=TARGET), NOBODY).prepare(flush()))
    assert sorted(found) == ["p.cluster.upstream_cx_active", "p.cluster.upstream_rq", "p.http.downstream_rq_time"]
    (counted,) = found["p.cluster.upstream_rq"].sum.data_points
    assert counted.as_int == 7
    assert {one.key: one.value.string_value for one in counted.attributes} == {
        "envoy.cluster_name": "blue",
        "envoy.response_code": "200",
    }
    assert found["p.cluster.upstream_rq"].sum.aggregation_temporality == CUMULATIVE
    assert found["p.cluster.upstream_rq"].sum.is_monotonic
    (point,) = found["p.http.downstream_rq_time"].histogram.data_points
    assert (point.count, sum(point.bucket_counts)) == (5, 5)
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1


def test_what_the_conventions_name_has_their_names_and_units() -> None:
    """Whatever prefix and names the configuration wants for Envoy's."""
    labels = "\x1fhttp.request.method\x1fGET"
    snapshot = StatsSnapshot(bounds=StatsRules().bounds)
    snapshot.gauges[f"otel.http.server.active_requests{labels}"] = 2
    snapshot.histograms[f"otel.http.server.request.duration{labels}"] = {bin_of(30_000): 1}
    snapshot.used.update((*snapshot.gauges, *snapshot.histograms))
    config = SinkConfig(SinkKind.OTLP, "p", target=TARGET, tags_as_attributes=False)
    found = metrics(OtlpSink(config, NOBODY).prepare(Flush(snapshot, TagExtractor())))
    active = found["http.server.active_requests"]
    assert (active.unit, active.sum.is_monotonic, active.sum.data_points[0].as_int) == ("{request}", False, 2)
    duration = found["http.server.request.duration"]
    (point,) = duration.histogram.data_points
    assert (duration.unit, [one.key for one in point.attributes]) == ("s", ["http.request.method"])
    assert list(point.explicit_bounds)[:4] == [0.005, 0.01, 0.025, 0.05]
    assert list(point.bucket_counts)[:4] == [0, 0, 0, 1]
    assert 0.03 <= point.sum <= 0.031


def test_deltas_and_whole_names() -> None:
    config = SinkConfig(
        SinkKind.OTLP,
        target=TARGET,
        counter_deltas=True,
        histogram_deltas=True,
        tags_as_attributes=False,
        short_names=False,
    )
    found = metrics(OtlpSink(config, NOBODY).prepare(flush()))
    (counted,) = found["cluster.blue.upstream_rq_200"].sum.data_points
    assert counted.as_int == 5
    assert not counted.attributes
    assert found["cluster.blue.upstream_rq_200"].sum.aggregation_temporality == DELTA
    assert found["http.in.downstream_rq_time"].histogram.aggregation_temporality == DELTA


class MetricsService:
    def __init__(self) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []

    async def export(self, stream: Stream[ExportMetricsServiceRequest, ExportMetricsServiceResponse]) -> None:
        request = await stream.recv_message()
        assert request is not None
        self.requests.append(request)
        await stream.send_message(ExportMetricsServiceResponse())

    def __mapping__(self) -> dict[str, Handler]:
        return {
            METRICS: Handler(
                self.export, Cardinality.UNARY_UNARY, ExportMetricsServiceRequest, ExportMetricsServiceResponse
            )
        }


async def test_they_arrive() -> None:
    service = MetricsService()
    server = Server([service])
    await server.start(LOOPBACK, 0)
    assert server._server is not None
    nearby = Nearby({"collector": server._server.sockets[0].getsockname()[1]})
    sink = OtlpSink(SinkConfig(SinkKind.OTLP, target=TARGET), nearby)
    await sink.send(sink.prepare(flush()))
    sink.close()
    server.close()
    await server.wait_closed()
    resource = service.requests[0].resource_metrics[0].resource
    assert {one.key: one.value.string_value for one in resource.attributes}["service.name"] == "svc"
    assert metrics(service.requests[0])["cluster.upstream_cx_active"].gauge.data_points[0].as_int == 2
