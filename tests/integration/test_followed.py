"""One request through two sidecars, followed by its trace id: in the spans, the logs, the exemplars and the labels."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.integration.downstream import Downstream
from tests.integration.upstream import Upstream
from tests.server.bootstraps import bootstrap, endpoint, file_log, listener, manager, static_cluster
from tests.server.running import Running, eventually
from tests.support.collector import Collector

CLIENT, SERVER = Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER
LABELS = {"app": "web", "service.istio.io/canonical-name": "web"}


def sidecar(directory: Path, name: str, to: int, collector: int, *, outbound: bool) -> Running:
    """A sidecar of the workload `name`."""
    directory.mkdir()
    otel = {
        "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
        "service_name": name,
        "http_service": {"http_uri": {"uri": "http://c/v1/traces", "cluster": "collector", "timeout": "1s"}},
    }
    headers = [{"istio_headers": {}}]
    told = {f"{side}_{what}": headers for side in ("downstream", "upstream") for what in ("discovery", "propagation")}
    peers = {"@type": "type.googleapis.com/io.istio.http.peer_metadata.Config", **told}
    filters = [
        {"name": "istio.metadata_exchange", "typed_config": peers},
        {"name": "istio.stats", "typed_config": {"@type": "type.googleapis.com/stats.PluginConfig"}},
    ]
    hcm = manager(
        "web",
        {"route": {"cluster": "up", "timeout": "0s"}},
        access_log=[file_log(str(directory / "access.log"), "%TRACE_ID% %SPAN_ID% %REQ(X-REQUEST-ID)%")],
        tracing={"provider": {"name": "otel", "typed_config": otel}, "spawn_upstream_span": outbound},
    )
    hcm["typed_config"]["http_filters"][:0] = filters
    web = listener("web", 0, hcm)
    web["traffic_direction"] = "OUTBOUND" if outbound else "INBOUND"
    clusters = [static_cluster("up", endpoint(to)), static_cluster("collector", endpoint(collector))]
    config = bootstrap([web], clusters)
    config["node"] = {"id": name, "metadata": {"WORKLOAD_NAME": name, "NAMESPACE": "shop", "LABELS": LABELS}}
    config["layered_runtime"] = {
        "layers": [{"name": "t", "static_layer": {"tracing": {"opentelemetry": {"min_flush_spans": 1}}}}]
    }
    (directory / "bootstrap.json").write_text(json.dumps(config))
    flags = ["--concurrency", "1", "--file-flush-interval-msec", "10"]
    proxy = Running(directory, ["pyproxy", "-c", str(directory / "bootstrap.json"), *flags])
    eventually(lambda: proxy.ready() or proxy.process.poll() is not None)
    assert proxy.process.poll() is None, proxy.said()
    return proxy


def spans(collector: Collector) -> dict[tuple[str, int], Any]:
    """By service and kind."""
    found = {}
    for request in collector.received:
        for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans:
            service = {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"]
            for scope in resource.scope_spans:
                found.update({(service, int(span.kind)): span for span in scope.spans})
    return found


def test_a_request_can_be_followed(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        collector = Collector.start()
        stack.callback(collector.stop)
        upstream = stack.enter_context(Upstream())
        server = sidecar(tmp_path / "server", "server", upstream.port, collector.port, outbound=False)
        stack.callback(server.stop)
        client = sidecar(tmp_path / "client", "client", server.port("web"), collector.port, outbound=True)
        stack.callback(client.stop)
        with Downstream(client.port("web")) as connection:
            assert connection.request("GET", "/digest")[0] == 200
        eventually(lambda: len(spans(collector)) == 3)
        found = spans(collector)
        root, tried, served = found["client", SERVER], found["client", CLIENT], found["server", SERVER]
        assert root.trace_id == tried.trace_id == served.trace_id
        assert (tried.parent_span_id, served.parent_span_id) == (root.span_id, tried.span_id)
        trace = root.trace_id.hex()
        logs = [tmp_path / name / "access.log" for name in ("client", "server")]
        eventually(lambda: all(log.exists() and log.read_text() for log in logs))
        lines = [log.read_text().split() for log in logs]
        assert [line[:2] for line in lines] == [[trace, root.span_id.hex()], [trace, served.span_id.hex()]]
        assert lines[0][2] == lines[1][2]
        for proxy in (client, server):
            eventually(lambda proxy=proxy: trace in proxy.admin("/stats/prometheus?openmetrics")[1])
        _check_labels(client, server)


def _check_labels(client: Running, server: Running) -> None:
    """Both sides name the same two workloads."""
    for proxy, reporter in ((client, "source"), (server, "destination")):
        eventually(lambda proxy=proxy: "istio_requests_total" in proxy.admin("/stats/prometheus")[1])
        (line,) = re.findall(r"^istio_requests_total\{(.*)\} 1$", proxy.admin("/stats/prometheus")[1], re.MULTILINE)
        labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
        assert labels["reporter"] == reporter
        assert (labels["source_workload"], labels["destination_workload"]) == ("client", "server")
        assert labels["destination_canonical_service"] == "web"
