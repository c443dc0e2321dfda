"""Sends access log entries to one collector: Envoy's access log service, or OpenTelemetry logs over gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.descriptors import message_class
from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.server.exporting.batcher import Batcher, BatchLimits, Busy, Counts
from pyproxy.server.exporting.destination import Destination, FindCluster
from pyproxy.server.exporting.environment import export_settings
from pyproxy.server.exporting.grpc_sender import GRPC_ERRORS, GrpcSender
from pyproxy.server.exporting.otlp import SCOPE, any_value, clean, key_values, made_resource
from pyproxy.server.exporting.resource import resource_attributes

LOGS: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
SERVICE: Final = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
_MESSAGE: Final = "envoy.service.accesslog.v3.StreamAccessLogsMessage"
_REPLY: Final = "envoy.service.accesslog.v3.StreamAccessLogsResponse"
_ENTRY_BYTES: Final = 512
"""About what an entry takes: `buffer_size_bytes` is turned into a number of entries by it."""
_SECONDS: Final = 10.0
_GOODBYE_SECONDS: Final = 1.0
_FLAGS: Final = {
    "LH": "failed_local_healthcheck",
    "UH": "no_healthy_upstream",
    "UT": "upstream_request_timeout",
    "LR": "local_reset",
    "UR": "upstream_remote_reset",
    "UF": "upstream_connection_failure",
    "UC": "upstream_connection_termination",
    "UO": "upstream_overflow",
    "NR": "no_route_found",
    "DI": "delay_injected",
    "FI": "fault_injected",
    "RL": "rate_limited",
    "RLSE": "rate_limit_service_error",
    "DC": "downstream_connection_termination",
    "URX": "upstream_retry_limit_exceeded",
    "SI": "stream_idle_timeout",
    "IH": "invalid_envoy_request_headers",
    "DPE": "downstream_protocol_error",
    "UMSDR": "upstream_max_stream_duration_reached",
    "RFCF": "response_from_cache_filter",
    "NFCF": "no_filter_config_found",
    "DT": "duration_timeout",
    "UPE": "upstream_protocol_error",
    "NC": "no_cluster_found",
    "OM": "overload_manager",
    "DF": "dns_resolution_failure",
    "DR": "downstream_remote_reset",
}


class LogExporter:
    """Implements `server.exporting.hub.Exporter`."""

    def __init__(self, target: ExportTarget, find: FindCluster, node: NodeConfig, counts: Counts) -> None:
        self._target = target
        settings = export_settings("LOGS")
        self._timeout = target.timeout or settings.timeout
        records = target.kind is ExportKind.OTLP_LOGS
        headers = (*settings.headers, *target.headers) if records else target.headers
        self._sender = GrpcSender(Destination(target.cluster, find), target.authority, headers)
        self._node = node
        self._stream: Any = None
        self._resource = made_resource(_resource(target, node))
        soon = max(1, (target.flush_bytes or _ENTRY_BYTES) // _ENTRY_BYTES)
        limits = BatchLimits(interval=target.flush_interval or 1.0, soon=soon, most=1024, queue=8192, timeout=_SECONDS)
        send = self._send_records if records else self._send_entries
        self._batcher = Batcher(f"the access log service {target.cluster!r}", send, limits, counts)

    def offer(self, items: list[Any]) -> None:
        self._batcher.offer(items)

    async def close(self, seconds: float) -> None:
        await self._batcher.close(seconds)
        await self._end_stream()
        self._sender.close()

    async def _send_records(self, batch: list[Any]) -> None:
        scope = ScopeLogs(scope=InstrumentationScope(name=SCOPE), log_records=[_record(one) for one in batch])
        request = ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=self._resource, scope_logs=[scope])])
        try:
            await self._sender.call(LOGS, request, ExportLogsServiceResponse, self._timeout)
        except GRPC_ERRORS as error:
            raise Busy(str(error)) from error

    async def _send_entries(self, batch: list[Any]) -> None:
        """On a stream that is kept. The first message of a stream says who we are."""
        message = message_class(_MESSAGE)()
        logs: Any = message.http_logs if self._target.kind is ExportKind.ALS_HTTP else message.tcp_logs  # type: ignore[attr-defined]
        for one in batch:
            fill_entry(logs.log_entry.add(), one)
        try:
            if self._stream is None:
                self._stream = self._sender.stream(SERVICE, message_class(_MESSAGE), message_class(_REPLY))
                await self._stream.__aenter__()
                self._identify(message)
            await self._stream.send_message(message)
        except BaseException as error:
            self._stream = None
            if isinstance(error, GRPC_ERRORS):
                raise Busy(str(error)) from error
            raise

    def _identify(self, message: Any) -> None:
        node = self._node
        message.identifier.log_name = self._target.log_name
        said = message.identifier.node
        said.id, said.cluster = node.id, node.cluster
        said.locality.region, said.locality.zone, said.locality.sub_zone = node.region, node.zone, node.sub_zone
        said.user_agent_name = "pyproxy"
        if node.metadata:
            said.metadata.update(node.metadata)

    async def _end_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        try:
            await stream.end()
            await asyncio.wait_for(stream.recv_message(), _GOODBYE_SECONDS)  # so that nothing is lost on its way
        except (*GRPC_ERRORS, OSError):
            await stream.reset()
        with contextlib.suppress(*GRPC_ERRORS, OSError):
            await stream.__aexit__(None, None, None)


def _resource(target: ExportTarget, node: NodeConfig) -> dict[str, str]:
    """Envoy's labels of the node, and what was configured."""
    found = resource_attributes(target.attributes)
    if target.builtin_labels:
        found |= {"zone_name": node.zone, "cluster_name": node.cluster, "node_name": node.id}
    return found


def _record(entry: Mapping[str, Any]) -> LogRecord:
    made = LogRecord(
        time_unix_nano=entry["time"],
        observed_time_unix_nano=entry["time"],
        attributes=key_values(entry["attributes"]),
        severity_number=entry.get("severity", 0),
    )
    if entry["body"] is not None:
        made.body.CopyFrom(any_value(entry["body"]))
    if len(entry["trace"]) == 32:
        made.trace_id, made.span_id = bytes.fromhex(entry["trace"]), bytes.fromhex(entry["span"])
    return made


def fill_entry(message: Any, entry: Mapping[str, Any]) -> None:
    """Put an entry into its message; the two have the same shape but for flags, metadata and wrapped numbers."""
    for name, value in entry.items():
        match name:
            case "response_flags":
                for flag in value:
                    _set_flag(message.response_flags, flag)
            case "response_code":
                message.response_code.value = value
            case "metadata":
                for namespace, text in value.items():
                    found = json.loads(text)
                    message.metadata.filter_metadata[namespace].update(found if isinstance(found, dict) else {})
            case "filter_state_objects":
                wrapped = message_class("google.protobuf.StringValue")
                for key, text in value.items():
                    message.filter_state_objects[key].Pack(wrapped(value=clean(text)))
            case "subject_alt_name":
                for one in value:
                    message.subject_alt_name.add(**one)
            case "request_headers" | "response_headers" | "response_trailers" | "custom_tags":
                for key, text in value.items():
                    getattr(message, name)[key] = clean(text)
            case _:
                _fill(message, name, value)


def _fill(message: Any, name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        inner = getattr(message, name)
        inner.SetInParent()
        fill_entry(inner, value)
    elif isinstance(value, str) and message.DESCRIPTOR.fields_by_name[name].enum_type is None:
        setattr(message, name, clean(value))
    elif isinstance(value, str):
        setattr(message, name, message.DESCRIPTOR.fields_by_name[name].enum_type.values_by_name[value].number)
    else:
        setattr(message, name, value)


def _set_flag(flags: Any, short: str) -> None:
    name = _FLAGS.get(short)
    if name is not None:
        setattr(flags, name, True)
    elif short == "UAEX":
        flags.unauthorized_details.reason = 1
