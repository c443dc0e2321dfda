"""OTLP messages (opentelemetry-proto 1.x) made of records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from pyproxy.telemetry.span_tags import SpanRecord

SCOPE = "pyproxy"
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def traces_request(spans: Iterable[SpanRecord], resource: Mapping[str, str]) -> ExportTraceServiceRequest:
    """One request for many spans."""
    scope = ScopeSpans(scope=InstrumentationScope(name=SCOPE), spans=[_span(one) for one in spans])
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=made_resource(resource), scope_spans=[scope])]
    )


def made_resource(attributes: Mapping[str, str]) -> Resource:
    return Resource(attributes=key_values(attributes))


def key_values(values: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in values.items()]


def any_value(value: Any) -> AnyValue:
    """A plain value. Text that is not UTF-8 is shown with the replacement character."""
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case None:
            return AnyValue()
        case Mapping():
            made = AnyValue()
            made.kvlist_value.values.extend(key_values(value))
            return made
        case list() | tuple():
            made = AnyValue()
            made.array_value.values.extend(any_value(one) for one in value)
            return made
        case _:
            return AnyValue(string_value=clean(str(value)))


def clean(text: str) -> str:
    """Protobuf takes no lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _span(record: SpanRecord) -> Span:
    made = Span(
        trace_id=bytes.fromhex(record["trace"].zfill(32)),
        span_id=bytes.fromhex(record["span"]),
        parent_span_id=bytes.fromhex(record["parent"]),
        trace_state=record["state"],
        name=clean(record["name"]),
        kind=record["kind"],  # type: ignore[arg-type]
        start_time_unix_nano=record["start"],
        end_time_unix_nano=record["end"],
        attributes=key_values(record["tags"]),
        flags=1,
    )
    if record["failed"]:
        made.status.code = Status.STATUS_CODE_ERROR
    for moment, name, tags in record["events"]:
        made.events.add(time_unix_nano=moment, name=name, attributes=key_values(tags))
    return made
