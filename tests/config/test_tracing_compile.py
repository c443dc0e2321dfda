"""What is said of tracing, as values."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.export import ExportKind
from pyproxy.config.format import Format, Operator
from pyproxy.config.matchers import Fraction
from pyproxy.config.tracing import CustomTagConfig, Propagation, SamplerConfig, SamplerKind, TracingConfig
from pyproxy.config.tracing_compile import compile_route_tracing
from tests.config.compiling import bootstrap, cluster, compiled, listener, manager, view

TRACE = "type.googleapis.com/envoy.config.trace.v3"
SAMPLERS = "type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3"
DETECTORS = "type.googleapis.com/envoy.extensions.tracers.opentelemetry.resource_detectors.v3"
HTTP = {"http_uri": {"uri": "http://host:1/v1/traces?x=y", "cluster": "a", "timeout": "2s"}}


def provider(kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": "t", "typed_config": {"@type": f"{TRACE}.{kind}", **fields}}


def tracing(said: dict[str, Any], **more: Any) -> tuple[TracingConfig | None, list[str]]:
    values, faults, _ = compiled(bootstrap([listener("one", manager(tracing=said))], [cluster("a")], **more))
    if values is None:
        return None, faults
    return values.listeners[0].filter_chains[0].filters[0].config.tracing, faults


def otel(**fields: Any) -> TracingConfig:
    found, faults = tracing({"provider": provider("OpenTelemetryConfig", **fields)})
    assert faults == []
    assert found is not None
    return found


def test_shares_and_tags() -> None:
    found, faults = tracing(
        {
            "client_sampling": {"value": 1.5},
            "overall_sampling": {"value": 50},
            "verbose": True,
            "max_path_tag_length": 7,
            "spawn_upstream_span": True,
            "custom_tags": [
                {"tag": "l", "literal": {"value": "v"}},
                {"tag": "m", "metadata": {"kind": {"host": {}}, "metadata_key": {"key": "n", "path": [{"key": "k"}]}}},
            ],
        }
    )
    assert faults == []
    assert found == TracingConfig(
        None,
        client=Fraction(150, 10_000, "tracing.client_enabled"),
        random=Fraction(10_000, 10_000, "tracing.random_sampling"),
        overall=Fraction(5000, 10_000, "tracing.global_enabled"),
        verbose=True,
        most_path=7,
        tags=(
            CustomTagConfig("l", Format(("v",))),
            CustomTagConfig("m", Format((Operator("METADATA", "UPSTREAM_HOST:n:k"),), omit_empty=True), ""),
        ),
        upstream_spans=True,
    )


def test_open_telemetry_over_http() -> None:
    header = {"header": {"key": "X-Key", "value": "100%%"}}
    static = {
        "name": "s",
        "typed_config": {"@type": f"{DETECTORS}.StaticConfigResourceDetectorConfig", "attributes": {"a": "b"}},
    }
    tracer = otel(
        service_name="s", http_service={**HTTP, "request_headers_to_add": [header]}, resource_detectors=[static]
    ).tracer
    assert tracer is not None
    assert (tracer.service_name, tracer.sampler, tracer.propagation) == ("s", None, (Propagation.W3C,))
    target = tracer.target
    assert (target.kind, target.cluster, target.authority) == (ExportKind.OTLP_HTTP, "a", "host:1")
    assert (target.path, target.timeout) == ("/v1/traces?x=y", 2.0)
    assert target.headers == (("x-key", "100%"),)
    assert target.attributes == (("a", "b"),)


@pytest.mark.parametrize(
    ("kind", "fields", "sampler"),
    [
        ("AlwaysOnSamplerConfig", {}, SamplerConfig(SamplerKind.ALWAYS_ON)),
        (
            "TraceIdRatioBasedSamplerConfig",
            {"sampling_percentage": {"numerator": 5}},
            SamplerConfig(SamplerKind.RATIO, 0.05),
        ),
        (
            "ParentBasedSamplerConfig",
            {"wrapped_sampler": {"name": "w", "typed_config": {"@type": f"{SAMPLERS}.AlwaysOnSamplerConfig"}}},
            SamplerConfig(SamplerKind.ALWAYS_ON, parent_based=True),
        ),
    ],
)
def test_samplers(kind: str, fields: dict[str, Any], sampler: SamplerConfig) -> None:
    chosen = {"name": "s", "typed_config": {"@type": f"{SAMPLERS}.{kind}", **fields}}
    tracer = otel(grpc_service={"envoy_grpc": {"cluster_name": "a"}}, sampler=chosen).tracer
    assert tracer is not None
    assert tracer.sampler == sampler
    assert tracer.target.kind is ExportKind.OTLP_GRPC


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    monkeypatch.setenv("OTEL_PROPAGATORS", "b3multi, tracecontext,xray")
    tracer = otel(http_service=HTTP).tracer
    assert tracer is not None
    assert tracer.sampler == SamplerConfig(SamplerKind.RATIO, 0.25, parent_based=True)
    assert tracer.propagation == (Propagation.B3_MULTI, Propagation.W3C)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert otel(http_service=HTTP).tracer is None


def test_zipkin() -> None:
    config = provider(
        "ZipkinConfig",
        collector_cluster="a",
        collector_endpoint="/api/v2/spans",
        collector_endpoint_version="HTTP_JSON",
        trace_id_128bit=True,
        trace_context_option="USE_B3_WITH_W3C_PROPAGATION",
    )
    found, _ = tracing({"provider": config})
    assert found is not None
    assert found.tracer is not None
    assert (found.tracer.long_ids, found.tracer.shared) == (True, True)
    assert found.tracer.propagation == (Propagation.ZIPKIN_W3C,)
    assert (found.tracer.target.kind, found.tracer.target.path) == (ExportKind.ZIPKIN, "/api/v2/spans")
    again, _ = tracing({}, tracing={"http": config})
    assert again is not None
    assert again.tracer == found.tracer


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"provider": provider("XRayConfig", segment_name="x")}, "is not supported"),
        ({"provider": provider("OpenTelemetryConfig")}, "does not say where spans go"),
        (
            {
                "provider": provider(
                    "OpenTelemetryConfig", http_service={"http_uri": {"uri": "x", "cluster": "a", "timeout": "1s"}}
                )
            },
            "is no URL",
        ),
        (
            {"provider": provider("OpenTelemetryConfig", grpc_service={"envoy_grpc": {"cluster_name": "b"}})},
            "unknown cluster 'b'",
        ),
        ({"custom_tags": [{"tag": "t", "value": "%NONSENSE%"}]}, "NONSENSE"),
        ({"operation": "%"}, "there is no valid operator"),
        (
            {
                "provider": provider(
                    "OpenTelemetryConfig",
                    http_service={**HTTP, "request_headers_to_add": [{"header": {"key": "a", "value": "%PROTOCOL%"}}]},
                )
            },
            "operators mean nothing here",
        ),
    ],
)
def test_what_cannot_be(said: dict[str, Any], fault: str) -> None:
    found, faults = tracing(said)
    assert found is None
    assert [fault in one for one in faults] == [True]


def test_a_route() -> None:
    seen = view(
        "envoy.config.route.v3.Route",
        "{match: {prefix: /}, decorator: {operation: op, propagate: false},"
        " tracing: {random_sampling: {numerator: 1, denominator: MILLION}, operation: '%PROTOCOL%'}}",
    )
    found = compile_route_tracing(seen)
    assert (found.operation, found.propagate) == ("op", False)
    assert found.random == Fraction(1, 1_000_000, "tracing.random_sampling")
    assert found.name == Format((Operator("PROTOCOL"),), omit_empty=True)
