"""Spans of requests and of their tries. What Envoy does is compared in `tests/oracle/test_traces.py`."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.config.format import parse_format
from pyproxy.config.matchers import Fraction
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.config.tracing import CustomTagConfig, Propagation, RouteTracing, TracerConfig, TracingConfig
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.stream_info import UpstreamInfo
from pyproxy.telemetry.exports import Exports
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.tracer import Tracer, TracingStats
from tests.telemetry.exchanges import forwarded

ID = b"00000000-0000-4000-8000-000000000000"
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTLP = TracerConfig(ExportTarget(ExportKind.OTLP_HTTP, "c"), service_name="svc")
ZIPKIN = TracerConfig(ExportTarget(ExportKind.ZIPKIN, "c"), (Propagation.ZIPKIN,), long_ids=False, shared=True)


class Bench:
    """A tracer, and the request that it traces."""

    def __init__(self, tracer: TracerConfig | None = OTLP, **config: Any) -> None:
        self.exports = Exports()
        self.stats = TracingStats(StatsStore(), "in")
        node = NodeConfig(id="node-1", cluster="service-1", zone="z")
        self.tracer = Tracer(TracingConfig(tracer, **config), self.stats, self.exports, RuntimeValues(), node)
        self.request, self.response = forwarded()
        self.request.headers = Headers([(b"x-request-id", ID), (b"x-forwarded-proto", b"http")])
        self.request.info.span = None

    def start(self, tracing: RouteTracing | None = None) -> Request:
        if tracing is not None:
            match = SimpleNamespace(path="/up")
            self.request.route = SimpleNamespace(tracing=tracing, config=SimpleNamespace(match=match))
        self.tracer.start(self.request)
        return self.request

    def send(
        self, response: Response | None = None, error: ProxyError | None = None, address: str = "10.0.0.1:80"
    ) -> Any:
        upstream = UpstreamInfo()
        upstream.host_address, upstream.cluster, upstream.protocol = address, "up", "HTTP/1.1"
        attempt = SimpleNamespace(info=upstream, response=response, error=error)
        self.request.info.span.begin_try(self.request, attempt)
        return attempt

    def records(self) -> list[dict[str, Any]]:
        span = self.request.info.span
        if span is not None:
            span.finish(self.request, self.response)
        return [item for _, items, _ in self.exports.take() for item in items]


def test_a_span() -> None:
    bench = Bench()
    request = bench.start(RouteTracing())
    bench.send(bench.response)
    (record,) = bench.records()
    assert (record["trace"], record["span"]) == (request.info.trace_id, request.info.span_id)
    assert (len(record["trace"]), len(record["span"]), record["parent"]) == (32, 16, "")
    assert request.headers.get(b"traceparent") == f"00-{record['trace']}-{record['span']}-01".encode()
    assert request.headers.get(b"x-request-id") == b"00000000-0000-9000-8000-000000000000"
    tags = record["tags"]
    assert (tags["http.url"], tags["http.method"], tags["node_id"]) == (
        "http://h:1/up/x?a=1&b=%20x&c",
        "POST",
        "node-1",
    )
    assert (tags["upstream_cluster"], tags["http.status_code"], tags["response_flags"]) == ("up", "200", "-")
    assert (tags["http.request.method"], tags["url.path"], tags["http.route"]) == ("POST", "/up/x", "/up")
    assert (tags["http.response.status_code"], tags["server.port"]) == (200, 1)
    assert (record["name"], record["kind"], record["failed"], record["events"]) == ("ingress", 2, False, [])
    assert record["metric"] == "http.in.downstream_rq_time"
    assert record["end"] - record["start"] == pytest.approx(20.8e6, abs=2000)
    assert bench.stats.random_sampling.value == 1


def test_what_is_not_sampled_costs_its_ids() -> None:
    bench = Bench(random=Fraction(0, 100))
    request = bench.start()
    bench.send()
    assert (request.headers.get(b"traceparent") or b"").endswith(b"-00")
    assert request.info.trace_id
    assert bench.records() == []
    assert bench.stats.not_traceable.value == 1


def test_without_a_tracer_only_the_decision_is_made() -> None:
    bench = Bench(None)
    request = bench.start()
    assert request.info.span is None
    assert b"traceparent" not in request.headers
    assert (request.headers.get(b"x-request-id") or b"")[14:15] == b"9"


def test_a_context_that_cannot_be_read_is_left_alone() -> None:
    bench = Bench()
    bench.request.headers.add(b"traceparent", b"bad")
    assert bench.start().info.span is None
    assert bench.request.headers.get(b"traceparent") == b"bad"


def test_a_health_check_is_not_traced() -> None:
    bench = Bench()
    bench.request.info.health_check = True
    bench.start()
    bench.send()
    assert bench.records() == []
    assert bench.stats.health_check.value == 1


def test_tries_have_spans_of_their_own() -> None:
    bench = Bench(upstream_spans=True)
    bench.request.headers.add(b"traceparent", PARENT)
    bench.start(RouteTracing())
    error = ProxyError(ResponseFlag.UPSTREAM_CONNECTION_FAILURE, Source.UPSTREAM, 503, "connection_failure")
    seen = []
    for response, fault in ((None, error), (Response(404, Headers()), None)):
        bench.send(response, fault)
        seen.append((bench.request.headers.get(b"traceparent") or b"").decode().split("-")[2])
    first, second, own = bench.records()
    assert own["parent"] == "b7ad6b7169203331"
    assert [one["span"] for one in (first, second)] == seen
    assert {one["parent"] for one in (first, second)} == {own["span"]}
    assert {one["trace"] for one in (first, second, own)} == {PARENT.decode().split("-")[1]}
    assert (first["kind"], first["failed"], first["tags"]["error.type"]) == (3, True, "connection_failure")
    assert (second["tags"]["retry.count"], second["tags"]["http.request.resend_count"]) == ("1", 1)
    assert (second["failed"], second["tags"].get("error")) == (True, None)  # 4xx: the client's fault
    assert second["tags"]["network.peer.port"] == 80
    ((_, event, fields),) = own["events"]
    assert (event, fields["reason"]) == ("retry", "connection_failure")


def test_tags_and_names_of_routes() -> None:
    general = CustomTagConfig("tag", parse_format("general"))
    missing = CustomTagConfig("missing", parse_format("%REQ(x-none)%", omit_empty=True), "")
    bench = Bench(tags=(general, missing), name=parse_format("%REQ(:METHOD)%"))
    route = RouteTracing(tags=(replace(general, value=parse_format("of the route")),))
    bench.start(route)
    (record,) = bench.records()
    assert record["tags"]["tag"] == "of the route"
    assert "missing" not in record["tags"]
    assert record["name"] == "POST"


@pytest.mark.parametrize(
    ("outbound", "asked", "name", "header", "answer"),
    [
        (False, None, "op", None, b"op"),
        (False, b"asked", "asked", None, None),
        (True, None, "op", b"op", None),
    ],
)
def test_decorators(outbound: bool, asked: bytes | None, name: str, header: bytes | None, answer: bytes | None) -> None:
    bench = Bench()
    bench.request.info.connection.outbound = outbound
    if asked:
        bench.request.headers.add(b"x-envoy-decorator-operation", asked)
    bench.start(RouteTracing(operation="op"))
    assert bench.request.headers.get(b"x-envoy-decorator-operation") == header
    bench.request.info.span.on_response(bench.request, bench.response)
    assert bench.response.headers.get(b"x-envoy-decorator-operation") == answer
    assert bench.records()[0]["name"] == name


def test_an_egress_is_named_by_the_other_side() -> None:
    bench = Bench()
    bench.request.info.connection.outbound = True
    bench.start()
    bench.response.headers.add(b"x-envoy-decorator-operation", b"theirs")
    bench.request.info.span.on_response(bench.request, bench.response)
    assert b"x-envoy-decorator-operation" not in bench.response.headers
    (record,) = bench.records()
    assert (record["name"], record["kind"]) == ("theirs", 3)


def test_zipkin() -> None:
    bench = Bench(ZIPKIN)
    request = bench.start()
    bench.send()
    (record,) = bench.records()
    assert len(record["trace"]) == 16
    assert record["trace"] == record["span"]
    assert record["shared"] is True
    assert request.headers.get(b"x-b3-spanid") == record["span"].encode()
    assert "http.request.method" not in record["tags"]
    assert record["name"] == "h:1"


def test_moments_where_they_are_wanted() -> None:
    bench = Bench(verbose=True)
    bench.start()
    names = [name for _, name, _ in bench.records()[0]["events"]]
    assert names[0] == "last_downstream_rx_byte_received"
    assert "first_upstream_rx_byte_received" in names


def test_grpc() -> None:
    bench = Bench()
    bench.request.headers.add(b"content-type", b"application/grpc")
    bench.response.headers.add(b"grpc-status", b"14")
    bench.start()
    (record,) = bench.records()
    assert (record["tags"]["grpc.path"], record["tags"]["grpc.status_code"]) == ("/up/x?a=1&b=%20x&c", "14")
    assert (record["failed"], record["tags"]["error"]) == (True, "true")
