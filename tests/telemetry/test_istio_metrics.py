"""Istio's standard metrics: labels, changes to them, and how many sets there may be."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from pyproxy.config.istio_peer import Workload
from pyproxy.config.istio_stats import IstioStatsConfig, LabelRule, Reporter
from pyproxy.errors import ResponseFlag
from pyproxy.http.message import Headers, Request, Response
from pyproxy.telemetry import istio_metrics
from pyproxy.telemetry.istio_metrics import DOWNSTREAM_PEER, UPSTREAM_PEER, IstioMetrics
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.stat_tags import TagExtractor, shown
from tests.telemetry.exchanges import forwarded

NODE = Workload("web-v1", "shop", "web", "v1", "web-app", "1", "east")
PEER = Workload("client-v2", "users", "client", "v2", "client-app", "2", "west")


class Tls:
    """Who is at both ends of a connection."""

    local_uri_sans = ("spiffe://d/ns/shop/sa/web",)

    def peer_sans(self, kind: str) -> list[str]:
        return ["spiffe://d/ns/from-san/sa/client"] if kind == "URI" else []


def counted(store: StatsStore) -> dict[str, tuple[int, dict[str, str]]]:
    """The labels of the only stat of each metric, and its value."""
    tags = TagExtractor()
    store.flush()
    found = {}
    for name, stat in store.scope("istiocustom").stats.items():
        tagged = tags(f"istiocustom.{name}")
        value: Any = stat
        count = sum(value.counts().values()) if hasattr(value, "counts") else value.value
        found[tagged.metric] = (count, dict(tagged.tags))
    return found


def metrics(store: StatsStore, expressions: dict[str, Any] | None = None, **config: Any) -> IstioMetrics:
    return IstioMetrics(IstioStatsConfig(**config), store, NODE, expressions or {})


def exchange(*, outbound: bool = False) -> tuple[Request, Response]:
    request, response = forwarded()
    request.info.connection.outbound = outbound
    request.info.filter_state = {UPSTREAM_PEER if outbound else DOWNSTREAM_PEER: PEER}
    return request, response


def test_a_server_tells_who_called() -> None:
    store = StatsStore()
    request, response = exchange()
    request.info.connection.tls = Tls()
    request.info.flags = (ResponseFlag.UPSTREAM_OVERFLOW,)
    metrics(store).count_request(request, response)
    count, labels = counted(store)["istio_requests_total"]
    assert count == 1
    assert labels == {
        "reporter": "destination",
        "source_workload": "client-v2",
        "source_canonical_service": "client",
        "source_canonical_revision": "v2",
        "source_workload_namespace": "from-san",
        "source_principal": "spiffe://d/ns/from-san/sa/client",
        "source_app": "client-app",
        "source_version": "2",
        "source_cluster": "west",
        "destination_workload": "web-v1",
        "destination_canonical_service": "web",
        "destination_canonical_revision": "v1",
        "destination_workload_namespace": "shop",
        "destination_principal": "spiffe://d/ns/shop/sa/web",
        "destination_app": "web-app",
        "destination_version": "1",
        "destination_cluster": "east",
        "destination_service": "h:1",
        "destination_service_name": "h:1",
        "destination_service_namespace": "shop",
        "request_protocol": "http",
        "response_code": "200",
        "grpc_response_status": "",
        "response_flags": "UO",
        "connection_security_policy": "mutual_tls",
    }


def test_a_client_tells_whom_it_called() -> None:
    store = StatsStore()
    request, response = exchange(outbound=True)
    request.info.upstream.cluster_metadata = {"istio": {"services": [{"host": "web.shop.svc", "name": "web"}]}}
    metrics(store).count_request(request, response)
    labels = counted(store)["istio_requests_total"][1]
    assert labels["reporter"] == "source"
    assert (labels["source_workload"], labels["destination_workload"]) == ("web-v1", "client-v2")
    assert (labels["destination_service"], labels["destination_service_name"]) == ("web.shop.svc", "web")
    assert (labels["destination_service_namespace"], labels["connection_security_policy"]) == ("users", "unknown")


def test_without_a_peer_the_endpoint_tells() -> None:
    store = StatsStore()
    request, response = exchange(outbound=True)
    request.info.filter_state = None
    request.info.upstream.host_metadata = {"istio": {"workload": "n;ns;c;;k"}}
    metrics(store).count_request(request, response)
    labels = counted(store)["istio_requests_total"][1]
    assert (labels["destination_workload"], labels["destination_cluster"]) == ("n", "k")
    assert (labels["destination_canonical_revision"], labels["destination_app"]) == ("latest", "unknown")


@pytest.mark.parametrize(
    ("route", "cluster", "name"),
    [
        ("block_all", "up", "BlackHoleCluster"),
        ("allow_any", "up", "PassthroughCluster"),
        ("r", "InboundPassthroughCluster", "InboundPassthroughCluster"),
        ("r", "up", "h:1"),
    ],
)
def test_what_is_no_service(route: str, cluster: str, name: str) -> None:
    store = StatsStore()
    request, response = exchange(outbound=True)
    request.info.route_name, request.info.upstream.cluster = route, cluster
    metrics(store).count_request(request, response)
    assert counted(store)["istio_requests_total"][1]["destination_service_name"] == name


def test_without_the_host_the_service_is_unknown() -> None:
    store = StatsStore()
    metrics(store, host_fallback=False).count_request(*exchange(outbound=True))
    assert counted(store)["istio_requests_total"][1]["destination_service"] == "unknown"


def test_grpc() -> None:
    store = StatsStore()
    request, response = exchange()
    request.headers = Headers([(b"content-type", b"application/grpc+proto")])
    request.info.response_trailers = [(b"grpc-status", b"14")]
    metrics(store).count_request(request, response)
    labels = counted(store)["istio_requests_total"][1]
    assert (labels["request_protocol"], labels["grpc_response_status"]) == ("grpc", "14")


def test_sizes_and_times() -> None:
    store = StatsStore()
    metrics(store).count_request(*exchange())
    found = counted(store)
    assert sorted(found) == [
        "istio_request_bytes",
        "istio_request_duration_milliseconds",
        "istio_requests_total",
        "istio_response_bytes",
    ]
    assert {count for count, _ in found.values()} == {1}


def test_tcp() -> None:
    store = StatsStore()
    metrics(store, reporter=Reporter.WAYPOINT).count_connection(exchange()[0])
    found = counted(store)
    assert {name: count for name, (count, _) in found.items()} == {
        "istio_tcp_connections_opened_total": 1,
        "istio_tcp_connections_closed_total": 1,
        "istio_tcp_sent_bytes_total": 427,
        "istio_tcp_received_bytes_total": 155,
    }
    labels = found["istio_tcp_sent_bytes_total"][1]
    assert (labels["reporter"], labels["request_protocol"]) == ("waypoint", "tcp")
    assert "response_code" not in labels


def test_labels_are_changed_and_metrics_dropped() -> None:
    store = StatsStore()
    rules = (
        LabelRule("requests_total", remove=("source_app",), add=(("method", "m"), ("nothing", "n"))),
        LabelRule("request_bytes", drop=True),
        LabelRule(remove=("source_version",)),
    )
    expressions = {"m": lambda request, response: request.method.decode(), "n": lambda request, response: ""}
    metrics(store, expressions, rules=rules).count_request(*exchange())
    found = counted(store)
    assert "istio_request_bytes" not in found
    labels = found["istio_requests_total"][1]
    assert (labels["method"], labels["nothing"]) == ("POST", "unknown")
    assert "source_app" not in labels
    assert "source_version" not in found["istio_response_bytes"][1]
    assert "source_app" in found["istio_response_bytes"][1]


def test_there_are_only_so_many_sets_of_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(istio_metrics, "MOST_LABEL_SETS", 2)
    store = StatsStore()
    made = metrics(store)
    for number in range(5):
        request, response = exchange()
        request.authority = b"host-%d" % number
        made.count_request(request, response)
    names = [name for name in store.scope("istiocustom").stats if name.startswith("istio_requests_total")]
    assert len(names) == 3
    assert store.scope("istiocustom").counter(names[-1]).value == 3
    assert "other" in shown(names[-1])
    assert store.scope("istio").counter("labels_dropped").value == 3


def test_a_hundred_thousand_sets_of_labels_are_bounded() -> None:
    store = StatsStore()
    made = metrics(store)

    def send(first: int, last: int) -> None:
        for number in range(first, last):
            request, response = exchange()
            request.authority = b"host-%d" % number
            made.count_request(request, response)
            if number % 1000 == 0:
                store.flush()

    send(0, istio_metrics.MOST_LABEL_SETS + 1)
    tracemalloc.start()
    send(istio_metrics.MOST_LABEL_SETS + 1, 100_000)
    store.flush()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 1_000_000
    assert store.scope("istio").counter("labels_dropped").value == 100_000 - istio_metrics.MOST_LABEL_SETS
