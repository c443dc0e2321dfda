"""Compiles tracing: protobuf -> `config.tracing` values."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Final

from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.config.export_compile import compile_grpc_service, compile_http_service, compile_resource_attributes
from pyproxy.config.extensions import CompileContext
from pyproxy.config.format import Format, Operator, parse_format
from pyproxy.config.format_compile import parsed
from pyproxy.config.matcher_compile import compile_percent
from pyproxy.config.matchers import Fraction
from pyproxy.config.tracing import (
    NO_ROUTE_TRACING,
    CustomTagConfig,
    Propagation,
    RouteTracing,
    SamplerConfig,
    SamplerKind,
    TracerConfig,
    TracingConfig,
)
from pyproxy.config.view import View

_OTEL: Final = "envoy.config.trace.v3.OpenTelemetryConfig"
_ZIPKIN: Final = "envoy.config.trace.v3.ZipkinConfig"
_SAMPLERS: Final = "envoy.extensions.tracers.opentelemetry.samplers.v3."
_METADATA: Final = {"request": "DYNAMIC", "route": "ROUTE", "cluster": "CLUSTER", "host": "UPSTREAM_HOST"}
_MOST_PATH: Final = 256
_PARTS: Final = 10_000
"""A `Percent` counts in hundredths."""

# Runtime keys (Envoy: "Runtime", HTTP connection manager).
_CLIENT, _RANDOM, _OVERALL = "tracing.client_enabled", "tracing.random_sampling", "tracing.global_enabled"


def compile_tracing(view: View, context: CompileContext) -> TracingConfig:
    """What a connection manager says in `tracing`."""
    provider = view.child("provider")
    most = view.wrapped("max_path_tag_length")
    spans = view.wrapped("spawn_upstream_span")
    return TracingConfig(
        tracer=context.tracer if provider is None else _live(_tracer(provider, context)),
        client=_share(view, "client_sampling", _CLIENT),
        random=_share(view, "random_sampling", _RANDOM),
        overall=_share(view, "overall_sampling", _OVERALL),
        verbose=bool(view.scalar("verbose")),
        most_path=_MOST_PATH if most is None else most,
        tags=view.each("custom_tags", compile_custom_tag),
        upstream_spans=bool(spans),
        name=_name(view, "operation"),
        upstream_name=_name(view, "upstream_operation"),
    )


def compile_default_tracer(view: View, context: CompileContext) -> TracerConfig | None:
    """What a bootstrap says in `tracing`: for all connection managers that name no provider (Envoy, deprecated)."""
    tracing = view.child("tracing")
    provider = None if tracing is None else tracing.child("http")
    return None if provider is None else _live(_tracer(provider, context))


def compile_route_tracing(view: View) -> RouteTracing:
    """What a `Route` says in `tracing` and `decorator`."""
    tracing, decorator = view.child("tracing"), view.child("decorator")
    made = NO_ROUTE_TRACING
    if tracing is not None:
        made = RouteTracing(
            client=_fraction(tracing, "client_sampling", _CLIENT),
            random=_fraction(tracing, "random_sampling", _RANDOM),
            overall=_fraction(tracing, "overall_sampling", _OVERALL),
            tags=tracing.each("custom_tags", compile_custom_tag),
            name=_name(tracing, "operation"),
            upstream_name=_name(tracing, "upstream_operation"),
        )
    if decorator is not None:
        propagate = decorator.wrapped("propagate")
        made = replace(made, operation=decorator.text("operation"), propagate=propagate is None or bool(propagate))
    return made


def _share(view: View, field: str, key: str) -> Fraction:
    percent = view.child(field)
    value = 100.0 if percent is None else percent.scalar("value")
    return Fraction(int(value * 100), _PARTS, key)


def _fraction(view: View, field: str, key: str) -> Fraction | None:
    percent = view.child(field)
    return None if percent is None else compile_percent(percent, key)


def _name(view: View, field: str) -> Format | None:
    text = view.text(field)
    return parsed(view, field, lambda: parse_format(text, omit_empty=True)) if text else None


# Tracers


def _live(tracer: TracerConfig) -> TracerConfig | None:
    """OTEL_SDK_DISABLED switches all tracing off (OpenTelemetry: "Environment variable specification")."""
    return None if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" else tracer


def _tracer(view: View, context: CompileContext) -> TracerConfig:
    name = view.text("name")
    typed = view.any("typed_config")
    kind = "none" if typed is None else typed.type_name
    if typed is not None and kind == _OTEL:
        return _open_telemetry(typed, context)
    if typed is not None and kind == _ZIPKIN:
        return _zipkin(typed, context)
    expected = f"{_OTEL} or {_ZIPKIN}"
    view.fail("typed_config", f"the tracer {name!r} of type {kind} is not supported", expected=expected)


def _open_telemetry(view: View, context: CompileContext) -> TracerConfig:
    grpc, http = view.child("grpc_service"), view.child("http_service")
    if grpc is not None and http is not None:
        view.fail("http_service", "is set, and grpc_service too", expected="one of them")
    view.ignore("max_cache_size")  # the queue is bounded by OTEL_BSP_MAX_QUEUE_SIZE
    if grpc is not None:
        target = compile_grpc_service(grpc, ExportKind.OTLP_GRPC, context)
    elif http is not None:
        target = compile_http_service(http, ExportKind.OTLP_HTTP, context)
    else:
        view.fail("", "does not say where spans go", expected="grpc_service or http_service")
    return TracerConfig(
        target=replace(target, attributes=compile_resource_attributes(view)),
        propagation=_propagators(),
        service_name=view.text("service_name"),
        sampler=_sampler(view),
    )


def _propagators() -> tuple[Propagation, ...]:
    """As OTEL_PROPAGATORS says. Baggage goes through in any case, and others are not spoken."""
    known = {one.value: one for one in (Propagation.W3C, Propagation.B3, Propagation.B3_MULTI)}
    asked = os.environ.get("OTEL_PROPAGATORS", "").split(",")
    found = tuple(known[name.strip()] for name in asked if name.strip() in known)
    return found or (Propagation.W3C,)


def _sampler(view: View) -> SamplerConfig | None:
    chosen = view.child("sampler")
    return _sampler_of_environment() if chosen is None else _sampler_of(chosen)


def _sampler_of(view: View) -> SamplerConfig:
    view.ignore("name")
    typed = view.any("typed_config")
    kind = "" if typed is None else typed.type_name.removeprefix(_SAMPLERS)
    if typed is not None:
        match kind:
            case "AlwaysOnSamplerConfig":
                return SamplerConfig(SamplerKind.ALWAYS_ON)
            case "TraceIdRatioBasedSamplerConfig":
                share = compile_percent(typed.need("sampling_percentage"))
                return SamplerConfig(SamplerKind.RATIO, share.numerator / share.denominator)
            case "ParentBasedSamplerConfig":
                return replace(_sampler_of(typed.need("wrapped_sampler")), parent_based=True)
            case _:
                pass
    expected = "AlwaysOnSamplerConfig, TraceIdRatioBasedSamplerConfig or ParentBasedSamplerConfig"
    view.fail("typed_config", f"samplers of type {kind!r} are not supported", expected=expected)


def _sampler_of_environment() -> SamplerConfig | None:
    """OTEL_TRACES_SAMPLER, where it is set: otherwise Envoy's sampling decides."""
    name = os.environ.get("OTEL_TRACES_SAMPLER", "")
    known = {kind.value: kind for kind in SamplerKind}
    kind = known.get(name.removeprefix("parentbased_"))
    if kind is None:
        return None
    try:
        ratio = min(1.0, max(0.0, float(os.environ.get("OTEL_TRACES_SAMPLER_ARG", "1"))))
    except ValueError:
        ratio = 1.0
    return SamplerConfig(kind, ratio, name.startswith("parentbased_"))


def _zipkin(view: View, context: CompileContext) -> TracerConfig:
    service = view.child("collector_service")
    if service is not None:
        view.ignore("collector_cluster", "collector_endpoint", "collector_hostname")
        target = compile_http_service(service, ExportKind.ZIPKIN, context)
    else:
        cluster = view.text("collector_cluster")
        context.check_cluster(view, "collector_cluster", cluster, "collector cluster")
        path = view.text("collector_endpoint")
        if not path:
            view.fail("collector_endpoint", "is empty", expected="/api/v2/spans")
        target = ExportTarget(ExportKind.ZIPKIN, cluster, view.text("collector_hostname") or cluster, path)
    if view.enum("collector_endpoint_version") != "HTTP_JSON":
        view.fail("collector_endpoint_version", "is not supported", expected="HTTP_JSON")
    shared = view.wrapped("shared_span_context")
    both = view.enum("trace_context_option") == "USE_B3_WITH_W3C_PROPAGATION"
    return TracerConfig(
        target=target,
        propagation=(Propagation.ZIPKIN_W3C if both else Propagation.ZIPKIN,),
        long_ids=bool(view.scalar("trace_id_128bit")),
        shared=shared is None or bool(shared),
        split=bool(view.scalar("split_spans_for_request")),
    )


# Custom tags


def compile_custom_tag(view: View) -> CustomTagConfig:
    """A `CustomTag`."""
    name = view.text("tag")
    kind = view.oneof("type")
    match kind:
        case "literal":
            return CustomTagConfig(name, Format((view.need(kind).text("value"),)))
        case "environment":
            source = view.need(kind)
            value = os.environ.get(source.text("name"), source.text("default_value"))
            return CustomTagConfig(name, Format((value,)))
        case "request_header":
            header = view.need(kind)
            read = Operator("REQ", header.text("name"))
            return CustomTagConfig(name, Format((read,), omit_empty=True), header.text("default_value"))
        case "metadata":
            return _metadata_tag(view.need(kind), name)
        case "value":
            text = view.text(kind)
            return CustomTagConfig(name, parsed(view, kind, lambda: parse_format(text, omit_empty=True)))
        case _:
            view.fail("", f"the tag {name!r} has no value", expected="literal, request_header, environment or metadata")


def _metadata_tag(view: View, name: str) -> CustomTagConfig:
    kind = view.need("kind").oneof("kind") or "request"
    key = view.need("metadata_key")
    path = [key.text("key"), *(one.text("key") for one in key.children("path"))]
    read = Operator("METADATA", ":".join([_METADATA[kind], *path]))
    return CustomTagConfig(name, Format((read,), omit_empty=True), view.text("default_value"))
