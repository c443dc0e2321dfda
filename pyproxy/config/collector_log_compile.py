"""Compiles access logs that go to collectors: Envoy's access log service, and OpenTelemetry logs.

Envoy: envoy.extensions.access_loggers.grpc.v3, envoy.extensions.access_loggers.open_telemetry.v3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from pyproxy.config.access_log import Map, RecordEntry, ServiceEntry
from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.config.export_compile import compile_grpc_service
from pyproxy.config.extensions import CompileContext
from pyproxy.config.format import Format, parse_format
from pyproxy.config.format_compile import parsed
from pyproxy.config.tracing_compile import compile_custom_tag
from pyproxy.config.view import View

HTTP: Final = "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig"
TCP: Final = "envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig"
OPEN_TELEMETRY: Final = "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig"
_KINDS: Final = {HTTP: ExportKind.ALS_HTTP, TCP: ExportKind.ALS_TCP, OPEN_TELEMETRY: ExportKind.OTLP_LOGS}

Collected = tuple[ExportTarget, ServiceEntry | RecordEntry]


def compile_collector_log(view: View, context: CompileContext) -> Collected:
    """Where to, and what an entry holds."""
    kind = _KINDS[view.type_name]
    common = view.need("common_config")
    target = _target(common, kind, context)
    if kind is ExportKind.OTLP_LOGS:
        return _record(view, common, target)
    return target, ServiceEntry(
        request_headers=_names(view, "additional_request_headers_to_log", kind),
        response_headers=_names(view, "additional_response_headers_to_log", kind),
        response_trailers=_names(view, "additional_response_trailers_to_log", kind),
        filter_states=tuple(str(name) for name in common.scalars("filter_state_objects_to_log")),
        tags=common.each("custom_tags", compile_custom_tag),
    )


def _target(common: View, kind: ExportKind, context: CompileContext) -> ExportTarget:
    version = common.enum("transport_api_version")
    if version not in ("AUTO", "V3"):
        common.fail("transport_api_version", f"{version} is not supported", expected="V3")
    common.ignore("grpc_stream_retry_policy")  # a stream that broke is opened again with the next entries
    interval, size = common.seconds("buffer_flush_interval"), common.wrapped("buffer_size_bytes")
    target = compile_grpc_service(common.need("grpc_service"), kind, context)
    return replace(
        target,
        log_name=common.text("log_name"),
        flush_interval=1.0 if interval is None else interval,
        flush_bytes=16384 if size is None else size,
    )


def _names(view: View, field: str, kind: ExportKind) -> tuple[bytes, ...]:
    if kind is ExportKind.ALS_TCP:
        return ()
    return tuple(str(name).lower().encode() for name in view.scalars(field))


def _record(view: View, common: View, target: ExportTarget) -> Collected:
    if view.children("formatters"):
        view.fail("formatters", "formatter extensions are not supported yet", expected="the built-in operators only")
    common.ignore("filter_state_objects_to_log", "custom_tags")  # they are for the access log service (Envoy)
    view.ignore("stat_prefix")
    labels = not view.scalar("disable_builtin_labels")
    attributes = _map(view.child("attributes"))
    resource = _map(view.child("resource_attributes"))
    texts = tuple((key, _literal(value)) for key, value in resource.items)
    body = view.child("body")
    builtin = (("log_name", target.log_name),) if labels else ()
    made = replace(target, attributes=(*builtin, *texts), builtin_labels=labels)
    return made, RecordEntry(None if body is None else _value(body), attributes.items)


def _map(view: View | None) -> Map:
    if view is None:
        return Map()
    entries = view.children("values")
    return Map(tuple((one.text("key"), _value(one.need("value"))) for one in entries))


def _value(view: View) -> Any:
    """An `AnyValue`."""
    kind = view.oneof("value")
    match kind:
        case "string_value":
            text = view.text(kind)
            return parsed(view, kind, lambda: parse_format(text))
        case "kvlist_value":
            return _map(view.need(kind))
        case "array_value":
            return tuple(_value(one) for one in view.need(kind).children("values"))
        case _:
            what = f"{kind} is not for access logs" if kind else "is empty"
            view.fail(kind or "", what, expected="string_value, kvlist_value or array_value")


def _literal(value: Any) -> str:
    """Of a resource: there is no request."""
    return "".join(part for part in value.parts if isinstance(part, str)) if isinstance(value, Format) else str(value)
