"""Statistics as OpenTelemetry metrics, over gRPC (Envoy: envoy.stat_sinks.open_telemetry)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)

from pyproxy import clock
from pyproxy.config.stats import SinkConfig
from pyproxy.server.exporting.destination import Destination
from pyproxy.server.exporting.environment import export_settings
from pyproxy.server.exporting.grpc_sender import GrpcSender
from pyproxy.server.exporting.hub import Surroundings
from pyproxy.server.exporting.otlp import SCOPE, clean, key_values, made_resource
from pyproxy.server.exporting.resource import resource_attributes
from pyproxy.server.stats_sinks.flush import Flush
from pyproxy.telemetry.histogram import Bins, approximate_sum, disjoint_counts, total
from pyproxy.telemetry.semantic_metrics import PREFIX, semantic
from pyproxy.telemetry.stat_tags import shown

METRICS: Final = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
_CUMULATIVE: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_DELTA: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
_NANO: Final = 1e9


class OtlpSink:
    """Implements `server.stats_sinks.flush.Sink`."""

    def __init__(self, config: SinkConfig, proxy: Surroundings) -> None:
        target = config.target
        assert target is not None
        self._config = config
        self._settings = export_settings("METRICS")
        self._timeout = target.timeout or self._settings.timeout
        self._resource = made_resource(resource_attributes(target.attributes))
        destination = Destination(target.cluster, proxy.cluster_config)
        self._sender = GrpcSender(destination, target.authority, (*self._settings.headers, *target.headers))
        self._started = int(clock.wall() * _NANO)

    def __repr__(self) -> str:
        return f"<OtlpSink {self._config.target.cluster if self._config.target else ''}>"

    def prepare(self, flush: Flush) -> ExportMetricsServiceRequest:
        """One metric for each name, one point for each set of tags."""
        made = _Metrics(self._config, flush, self._started)
        metrics = made.counters() + made.gauges() + made.histograms()
        scope = ScopeMetrics(scope=InstrumentationScope(name=SCOPE), metrics=metrics)
        return ExportMetricsServiceRequest(
            resource_metrics=[ResourceMetrics(resource=self._resource, scope_metrics=[scope])]
        )

    async def send(self, prepared: object) -> None:
        await self._sender.call(METRICS, prepared, ExportMetricsServiceResponse, self._timeout)

    def close(self) -> None:
        self._sender.close()


class _Metrics:
    """The metrics of one flush."""

    def __init__(self, config: SinkConfig, flush: Flush, started: int) -> None:
        self._config = config
        self._flush = flush
        self._started = started
        self._since, self._until = int(flush.since * _NANO), int(flush.until * _NANO)

    def counters(self) -> list[Metric]:
        deltas = self._config.counter_deltas
        values = self._flush.deltas if deltas else self._used(self._flush.snapshot.counters)
        begin = self._since if deltas else self._started
        points = self._by_name({name: self._number(name, value, begin) for name, value in values.items()})
        return [_sum(name, found, _DELTA if deltas else _CUMULATIVE) for name, found in points.items()]

    def gauges(self) -> list[Metric]:
        values = self._used(self._flush.snapshot.gauges)
        points = self._by_name({name: self._number(name, value, 0) for name, value in values.items()})
        made = []
        for name, found in points.items():
            if semantic(PREFIX + name) is not None:  # what goes up and down by the requests that come and go
                made.append(_sum(name, found, _CUMULATIVE, monotonic=False))
                continue
            metric = Metric(name=name)
            metric.gauge.data_points.extend(found)
            made.append(metric)
        return made

    def histograms(self) -> list[Metric]:
        deltas, snapshot = self._config.histogram_deltas, self._flush.snapshot
        values: Mapping[str, Bins] = snapshot.histograms
        if deltas:
            values = {name: bins for name, bins in snapshot.intervals.items() if name in snapshot.histograms}
        found: defaultdict[str, list[HistogramDataPoint]] = defaultdict(list)
        for name, bins in values.items():
            if bins:
                found[self._name(name)].append(self._histogram(name, bins, self._since if deltas else self._started))
        made = []
        for name, points in found.items():
            metric = Metric(name=name, unit=_unit(name))
            metric.histogram.aggregation_temporality = _DELTA if deltas else _CUMULATIVE
            metric.histogram.data_points.extend(points)
            made.append(metric)
        return made

    def _used(self, values: Mapping[str, int]) -> dict[str, int]:
        used = self._flush.snapshot.used
        return {name: value for name, value in values.items() if name in used}

    def _by_name(self, points: Mapping[str, NumberDataPoint]) -> Mapping[str, list[NumberDataPoint]]:
        found: defaultdict[str, list[NumberDataPoint]] = defaultdict(list)
        for name, point in points.items():
            found[self._name(name)].append(point)
        return found

    def _name(self, name: str) -> str:
        known = semantic(name)
        if known is not None:
            return known.name  # it is what the conventions say, with its attributes beside it
        bare = ".".join(self._flush.tags(name).order) if self._config.short_names else shown(name)
        prefix = self._config.prefix
        return clean(f"{prefix}.{bare}" if prefix else bare)

    def _attributes(self, name: str) -> list[KeyValue]:
        if not self._config.tags_as_attributes and semantic(name) is None:
            return []
        return key_values(dict(self._flush.tags(name).tags))

    def _number(self, name: str, value: int, begin: int) -> NumberDataPoint:
        return NumberDataPoint(
            as_int=value,
            start_time_unix_nano=begin,
            time_unix_nano=self._until,
            attributes=self._attributes(name),
        )

    def _histogram(self, name: str, bins: Bins, begin: int) -> HistogramDataPoint:
        bounds = self._flush.snapshot.bounds(name)
        counts, count = disjoint_counts(bins, bounds), total(bins)
        known, whole = semantic(name), approximate_sum(bins)
        return HistogramDataPoint(
            count=count,
            sum=whole if known is None else known.scaled(whole),
            explicit_bounds=bounds if known is None else [known.scaled(bound) for bound in bounds],
            bucket_counts=[*counts, count - sum(counts)],
            start_time_unix_nano=begin,
            time_unix_nano=self._until,
            attributes=self._attributes(name),
        )


def _unit(name: str) -> str:
    known = semantic(PREFIX + name)
    if known is not None:
        return known.unit
    return "ms" if name.endswith(("_ms", "_time")) else ""


def _sum(
    name: str,
    points: list[NumberDataPoint],
    temporality: AggregationTemporality.ValueType,
    *,
    monotonic: bool = True,
) -> Metric:
    metric = Metric(name=name, unit="" if monotonic else _unit(name))
    metric.sum.is_monotonic = monotonic
    metric.sum.aggregation_temporality = temporality
    metric.sum.data_points.extend(points)
    return metric
