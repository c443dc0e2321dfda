"""Entries sent to the access log service and as OpenTelemetry logs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyproxy.config.access_log import RecordEntry, ServiceEntry
from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.config.format import parse_format
from pyproxy.errors import ResponseFlag
from pyproxy.server.exporting.export_stats import ExportCounts
from pyproxy.server.exporting.log_exporter import LogExporter
from pyproxy.telemetry.collector_logs import build_entry
from pyproxy.telemetry.metrics import StatsStore
from tests.server.stats_sinks.surroundings import Nearby
from tests.support.log_service import LogService
from tests.telemetry.exchanges import forwarded

NODE = NodeConfig(id="node-1", cluster="service-1", zone="zone-1", metadata={"k": "v"})


@pytest.fixture
def service() -> Iterator[LogService]:
    made = LogService.start()
    yield made
    made.stop()


def exporter(kind: ExportKind, port: int | None, store: StatsStore) -> tuple[LogExporter, ExportTarget]:
    target = ExportTarget(kind, "logs", "authority", log_name="the log", flush_interval=0.01, flush_bytes=1)
    nearby = Nearby({} if port is None else {"logs": port})
    return LogExporter(target, nearby.cluster_config, NODE, ExportCounts(store, kind)), target


async def test_one_stream_says_once_who_we_are(service: LogService) -> None:
    store = StatsStore()
    made, target = exporter(ExportKind.ALS_HTTP, service.port, store)
    request, response = forwarded()
    request.info.flags = (ResponseFlag.NO_ROUTE_FOUND, ResponseFlag.UNAUTHORIZED_EXTERNAL_SERVICE)
    request.info.dynamic_metadata = {"ns": {"k": {"n": 1}}}
    entry = build_entry(target, ServiceEntry(request_headers=(b"x-u",), filter_states=("key",)))(request, response)
    written = store.counter("access_logs.grpc_access_log.logs_written")
    for number in (1, 2):
        made.offer([entry])
        while written.value < number:
            await _turn()
    await made.close(5)
    assert service.streams == 1
    first, second = service.messages
    assert first.identifier.log_name == "the log"
    assert first.identifier.node.id == "node-1"
    assert first.identifier.node.metadata["k"] == "v"
    assert not second.HasField("identifier")
    (found,) = first.http_logs.log_entry
    assert found.request.request_headers["x-u"] == "é€"
    assert found.response.response_code.value == 200
    assert found.common_properties.response_flags.no_route_found
    assert found.common_properties.response_flags.unauthorized_details.reason == 1
    assert found.common_properties.metadata.filter_metadata["ns"]["k"]["n"] == 1
    assert "key" in found.common_properties.filter_state_objects


async def test_records(service: LogService) -> None:
    store = StatsStore()
    made, target = exporter(ExportKind.OTLP_LOGS, service.port, store)
    request, response = forwarded()
    request.info.trace_id, request.info.span_id = "ab" * 16, "cd" * 8
    made.offer([build_entry(target, RecordEntry(parse_format("%RESPONSE_CODE%")))(request, response)])
    await made.close(5)
    (record,) = service.records()
    assert record.body.string_value == "200"
    assert (record.trace_id.hex(), record.span_id.hex()) == ("ab" * 16, "cd" * 8)
    labels = {one.key: one.value.string_value for one in service.requests[0].resource_logs[0].resource.attributes}
    assert (labels["node_name"], labels["cluster_name"], labels["zone_name"]) == ("node-1", "service-1", "zone-1")


@pytest.mark.parametrize("kind", [ExportKind.ALS_TCP, ExportKind.OTLP_LOGS])
async def test_without_a_service_entries_are_dropped_and_counted(kind: ExportKind) -> None:
    store = StatsStore()
    made, target = exporter(kind, None, store)
    config = RecordEntry() if kind is ExportKind.OTLP_LOGS else ServiceEntry()
    made.offer([build_entry(target, config)(forwarded()[0], None)])
    await made.close(5)
    scope = "open_telemetry" if kind is ExportKind.OTLP_LOGS else "grpc"
    assert store.counter(f"access_logs.{scope}_access_log.logs_dropped").value == 1


async def _turn() -> None:
    import asyncio

    await asyncio.sleep(0.001)
