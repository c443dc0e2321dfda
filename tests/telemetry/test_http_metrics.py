"""OpenTelemetry's metrics of HTTP: names, units, attributes, and how many sets of them there may be."""

from __future__ import annotations

import tracemalloc

import pytest

from pyproxy.errors import ResponseFlag
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo, UpstreamInfo
from pyproxy.telemetry import http_metrics
from pyproxy.telemetry.http_metrics import MOST_LABEL_SETS, HttpMetrics
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.prometheus import render_prometheus
from pyproxy.telemetry.semantic_metrics import semantic
from pyproxy.telemetry.stat_tags import TagExtractor
from pyproxy.telemetry.stats_query import StatsQuery
from pyproxy.telemetry.stats_rules import StatsRules
from tests.telemetry.test_stat_blocks import Shown


@pytest.fixture
def shown() -> Shown:
    return Shown()


def over(method: bytes = b"GET", *, status: int = 200, route: str = "", upstream: str = "10.0.0.1:80") -> Request:
    """A request that is over, after 30 ms of which 20 were the upstream's."""
    info = StreamInfo(1.0, 1.0, ConnectionInfo())
    info.end, info.status, info.protocol, info.route_name = 1.03, status, "HTTP/1.1", route
    info.bytes_received, info.bytes_sent = 5, 300
    if upstream:
        info.upstream = UpstreamInfo()
        info.upstream.host_address, info.upstream.protocol = upstream, "HTTP/2"
        info.upstream.request_sent_first, info.upstream.response_first, info.upstream.response_last = 1.0, 1.01, 1.02
    return Request(method, b"/", b"h", Headers(), info)


def lines(shown: Shown, beginning: str) -> list[str]:
    snapshot = shown.now()
    snapshot.bounds = StatsRules().bounds
    text = render_prometheus(snapshot, StatsQuery(), TagExtractor())
    return [line for line in text.splitlines() if line.startswith(beginning)]


def test_what_prometheus_shows(shown: Shown) -> None:
    metrics = HttpMetrics(shown.store)
    request = over(route="shop")
    metrics.begin(request)
    active = 'http_server_active_requests{http_request_method="GET",url_scheme="http"}'
    assert lines(shown, "http_server_active") == [f"{active} 1"]
    metrics.end(request)
    assert lines(shown, "http_server_active") == [f"{active} 0"]
    labels = (
        'http_request_method="GET",url_scheme="http",network_protocol_version="1.1",http_response_status_code="200",'
        'http_route="shop"'
    )
    durations = lines(shown, "http_server_request_duration_seconds")
    assert durations[0] == f'http_server_request_duration_seconds_bucket{{{labels},le="0.005"}} 0'
    assert f'http_server_request_duration_seconds_bucket{{{labels},le="0.05"}} 1' in durations
    assert f'http_server_request_duration_seconds_bucket{{{labels},le="10"}} 1' in durations
    assert durations[-1] == f"http_server_request_duration_seconds_count{{{labels}}} 1"
    assert f'http_server_response_body_size_bytes_bucket{{{labels},le="1024"}} 1' in lines(shown, "http_server_resp")
    labels = (
        'http_request_method="GET",network_protocol_version="2",server_address="10.0.0.1",server_port="80",'
        'http_response_status_code="200"'
    )
    assert f'http_client_request_duration_seconds_bucket{{{labels},le="0.025"}} 1' in lines(shown, "http_client")


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (over(status=503), 'error_type="503"'),
        (over(b"BREW"), 'http_request_method="_OTHER"'),
        (over(upstream="/run/app.sock"), 'server_address="/run/app.sock"'),
        (over(upstream="[::1]:80"), 'server_address="::1",server_port="80"'),
    ],
)
def test_attributes(shown: Shown, request_: Request, wanted: str) -> None:
    metrics = HttpMetrics(shown.store)
    metrics.begin(request_)
    metrics.end(request_)
    assert any(wanted in line for line in lines(shown, "http_"))


def test_a_request_without_an_answer(shown: Shown) -> None:
    metrics = HttpMetrics(shown.store)
    request = over(status=0, upstream="")
    request.info.add_flag(ResponseFlag.DOWNSTREAM_CONNECTION_TERMINATION)
    metrics.begin(request)
    metrics.end(request)
    count = lines(shown, "http_server_request_duration_seconds_count")
    assert ['error_type="DC"' in line and "status_code" not in line for line in count] == [True]
    assert not lines(shown, "http_client")


def test_a_hundred_thousand_sets_of_attributes_are_bounded() -> None:
    """What comes after the first 2,000 is counted together, and costs nothing more."""
    store = StatsStore()
    metrics = HttpMetrics(store)

    def send(first: int, last: int) -> None:
        for number in range(first, last):
            request = over(route=f"r{number}", upstream=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:80")
            metrics.begin(request)
            metrics.end(request)
            if number % 1000 == 0:
                store.flush()

    send(0, MOST_LABEL_SETS + 1)
    tracemalloc.start()
    send(MOST_LABEL_SETS + 1, 100_000)
    store.flush()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 1_000_000
    dropped = 2 * (100_000 - MOST_LABEL_SETS)
    assert store.counter("otel.labels_dropped").value == dropped
    other = store.scope("otel").histogram("http.server.request.duration\x1fotel.metric.overflow\x1ftrue")
    assert sum(other.counts().values()) == 100_000 - MOST_LABEL_SETS


def test_switched_on_by_the_environment() -> None:
    assert HttpMetrics.wanted({http_metrics.VARIABLE: "OTel"})
    assert not HttpMetrics.wanted({})
    assert not HttpMetrics.wanted({http_metrics.VARIABLE: "no"})


def test_what_is_none_of_them() -> None:
    assert semantic("cluster.a.upstream_rq_time") is None
    assert semantic("otel.labels_dropped") is None
