"""All the exporters of the manager: one for each collector, made when the first item for it comes.

The libraries that it takes are imported then, so a proxy that exports nothing does not hold them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, Final, Protocol

from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.cluster import ClusterConfig
from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.server.event_hub import CLUSTER_VARIABLE, EventHub
from pyproxy.server.export_notes import target_of_message
from pyproxy.server.exporting.export_stats import ExportCounts
from pyproxy.telemetry.events import Event
from pyproxy.telemetry.exemplars import Exemplar, Exemplars
from pyproxy.telemetry.metrics import StatsStore

log = logging.getLogger("pyproxy.exporting")

_CLOSE_SECONDS: Final = 2.0


class Exporter(Protocol):
    """Sends the items of one target."""

    def offer(self, items: list[Any]) -> None: ...
    async def close(self, seconds: float) -> None: ...


class Surroundings(Protocol):
    """What exporters need of the proxy."""

    def cluster_config(self, name: str) -> ClusterConfig | None: ...
    def hear_exports(self, take: Callable[[dict[str, Any]], None]) -> None: ...
    def runtime_values(self) -> RuntimeValues: ...
    @property
    def node(self) -> NodeConfig: ...
    @property
    def events(self) -> EventHub: ...


class ExportHub:
    """Lives in the manager process."""

    def __init__(self, proxy: Surroundings, stats: StatsStore) -> None:
        self._proxy = proxy
        self._stats = stats
        self._exporters: dict[ExportTarget, tuple[Exporter, ExportCounts]] = {}
        self.exemplars = Exemplars()
        proxy.hear_exports(self._hear)
        cluster = os.environ.get(CLUSTER_VARIABLE)
        if cluster:
            self._event_target = ExportTarget(ExportKind.OTLP_LOGS, cluster, cluster, log_name="events")
            proxy.events.export = self._send_event

    def _hear(self, message: dict[str, Any]) -> None:
        exporter, counts = self._exporter(target_of_message(message["target"]))
        if message["dropped"]:
            counts.dropped(message["dropped"])
        items = message["items"]
        if items:
            self._note_exemplars(items)
            exporter.offer(items)

    def _exporter(self, target: ExportTarget) -> tuple[Exporter, ExportCounts]:
        found = self._exporters.get(target)
        if found is None:
            counts = ExportCounts(self._stats, target.kind)
            found = self._exporters[target] = make_exporter(target, self._proxy, counts), counts
        return found

    def _note_exemplars(self, items: list[Any]) -> None:
        for item in items:
            metric = item.get("metric")
            if metric:
                value = (item["end"] - item["start"]) / 1e6
                self.exemplars.add(metric, Exemplar(item["trace"], item["span"], value, item["end"] / 1e9))

    def _send_event(self, event: Event) -> None:
        self._exporter(self._event_target)[0].offer([event_record(event)])

    async def close(self) -> None:
        """Send what there is."""
        for exporter, _ in self._exporters.values():
            await exporter.close(_CLOSE_SECONDS)


def event_record(event: Event) -> dict[str, Any]:
    """An event as an OpenTelemetry log record: its kind is `event.name`."""
    attributes = {"event.name": event.kind.value, "subject": event.subject, **event.fields}
    return {
        "time": int(event.at * 1e9),
        "body": event.message,
        "attributes": attributes,
        "severity": event.severity.value,
        "trace": event.fields.get("trace_id", ""),
        "span": "",
    }


def make_exporter(target: ExportTarget, proxy: Surroundings, counts: ExportCounts) -> Exporter:
    """The exporter for a kind of target."""
    match target.kind:
        case ExportKind.OTLP_GRPC | ExportKind.OTLP_HTTP | ExportKind.ZIPKIN:
            from pyproxy.server.exporting.span_exporter import SpanExporter

            return SpanExporter(target, proxy.cluster_config, proxy.runtime_values(), counts)
        case ExportKind.ALS_HTTP | ExportKind.ALS_TCP | ExportKind.OTLP_LOGS:
            from pyproxy.server.exporting.log_exporter import LogExporter

            return LogExporter(target, proxy.cluster_config, proxy.node, counts)
