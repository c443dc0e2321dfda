"""What exporters count, under Envoy's names where it has some (`tracing.`, `access_logs.`)."""

from __future__ import annotations

from typing import Final

from pyproxy.config.export import ExportKind
from pyproxy.telemetry.metrics import StatsStore

_SPANS: Final = ("spans_sent", "spans_dropped")
_LOGS: Final = ("logs_written", "logs_dropped")
_NAMES: Final = {
    ExportKind.OTLP_GRPC: ("tracing.opentelemetry", *_SPANS),
    ExportKind.OTLP_HTTP: ("tracing.opentelemetry", *_SPANS),
    ExportKind.ZIPKIN: ("tracing.zipkin", *_SPANS),
    ExportKind.ALS_HTTP: ("access_logs.grpc_access_log", *_LOGS),
    ExportKind.ALS_TCP: ("access_logs.grpc_access_log", *_LOGS),
    ExportKind.OTLP_LOGS: ("access_logs.open_telemetry_access_log", *_LOGS),
}
"""(scope, what was sent, what was not)"""

_SERVICES: Final = (ExportKind.ALS_HTTP, ExportKind.ALS_TCP)


class ExportCounts:
    """The counters of one kind of exporter. `dropped` and `failed` are ours for spans."""

    def __init__(self, store: StatsStore, kind: ExportKind) -> None:
        prefix, sent, dropped = _NAMES[kind]
        scope = store.scope(prefix)
        self._sent = scope.counter(sent)
        self._dropped = scope.counter(dropped)
        self._timer = scope.counter("timer_flushed")
        self._failed = scope.counter("reports_failed")

        self._entries = scope.counter("grpc_entries_flushed") if kind in _SERVICES else None

    def sent(self, items: int) -> None:
        self._sent.value += items
        if self._entries is not None:
            self._entries.value += items

    def dropped(self, items: int) -> None:
        self._dropped.value += items

    def flushed_by_timer(self) -> None:
        self._timer.value += 1

    def failed(self) -> None:
        self._failed.value += 1
