"""What exporters count, under Envoy's names where it has some (`tracing.opentelemetry.`, `tracing.zipkin.`)."""

from __future__ import annotations

from typing import Final

from pyproxy.config.export import ExportKind
from pyproxy.telemetry.metrics import StatsStore

_SCOPES: Final = {
    ExportKind.OTLP_GRPC: "tracing.opentelemetry",
    ExportKind.OTLP_HTTP: "tracing.opentelemetry",
    ExportKind.ZIPKIN: "tracing.zipkin",
}


class ExportCounts:
    """The counters of one kind of exporter. `dropped` and `failed` are ours for spans."""

    def __init__(self, store: StatsStore, kind: ExportKind) -> None:
        scope = store.scope(_SCOPES[kind])
        self._sent = scope.counter("spans_sent")
        self._dropped = scope.counter("spans_dropped")
        self._timer = scope.counter("timer_flushed")
        self._failed = scope.counter("reports_failed")

    def sent(self, items: int) -> None:
        self._sent.value += items

    def dropped(self, items: int) -> None:
        self._dropped.value += items

    def flushed_by_timer(self) -> None:
        self._timer.value += 1

    def failed(self) -> None:
        self._failed.value += 1
