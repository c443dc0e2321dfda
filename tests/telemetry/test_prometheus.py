"""The exposition as Prometheus reads it; that it is Envoy's, byte for byte, is in `test_envoy_stats`."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from pyproxy.telemetry.prometheus import render_prometheus
from pyproxy.telemetry.shared_reader import StatsSnapshot
from pyproxy.telemetry.stat_tags import TagExtractor
from pyproxy.telemetry.stats_query import StatsQuery

SNAPSHOT = StatsSnapshot(
    counters={"cluster.a.upstream_rq_200": 3, "cluster.b.upstream_rq_200": 4, "cluster_manager.cluster_added": 2},
    gauges={"server.live": 1},
    texts={"server.note": 'a "b"\\c\nd'},
    histograms={"cluster.a.upstream_rq_time": {0: 1, 7: 2, 115: 1}},
    used={"cluster.a.upstream_rq_200"},
)


def rendered(parameters: dict[str, str]) -> str:
    return render_prometheus(SNAPSHOT, StatsQuery.parse(parameters, prometheus=True), TagExtractor())


def test_prometheus_can_read_it() -> None:
    families = {one.name: one for one in text_string_to_metric_families(rendered({"text_readouts": ""}))}
    assert {name: one.type for name, one in families.items()} == {
        "envoy_cluster_upstream_rq": "counter",
        "envoy_cluster_manager_cluster_added": "counter",
        "envoy_server_live": "gauge",
        "envoy_server_note": "gauge",
        "envoy_cluster_upstream_rq_time": "histogram",
    }
    requests = {one.labels["envoy_cluster_name"]: one.value for one in families["envoy_cluster_upstream_rq"].samples}
    assert requests == {"a": 3, "b": 4}
    assert families["envoy_server_note"].samples[0].labels == {"text_value": 'a "b"\\c\nd'}
    buckets = {
        one.labels["le"]: one.value
        for one in families["envoy_cluster_upstream_rq_time"].samples
        if one.name.endswith("_bucket")
    }
    assert {bound: buckets[bound] for bound in ("0.5", "5", "10", "100", "250", "+Inf")} == {
        "0.5": 1,
        "5": 1,
        "10": 3,
        "100": 3,
        "250": 4,
        "+Inf": 4,
    }


def test_only_what_was_used() -> None:
    assert "cluster_manager" not in rendered({"usedonly": ""})
    assert 'envoy_response_code="200",envoy_cluster_name="a"' in rendered({"usedonly": ""})


def test_nothing_selected_is_nothing_printed() -> None:
    assert rendered({"filter": "nosuch"}) == ""
