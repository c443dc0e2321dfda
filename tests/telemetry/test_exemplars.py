"""Exemplars, and OpenMetrics as its own parser reads it."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pyproxy.telemetry.exemplars import MOST_HISTOGRAMS, Exemplar, Exemplars
from pyproxy.telemetry.prometheus import render_prometheus
from pyproxy.telemetry.shared_reader import StatsSnapshot
from pyproxy.telemetry.stat_tags import TagExtractor, labelled
from pyproxy.telemetry.stats_query import StatsQuery

TIME = "http.in.downstream_rq_time"


def exemplar(value: float, trace: str = "a" * 32) -> Exemplar:
    return Exemplar(trace, "b" * 16, value, 1000.5)


def test_a_bucket_has_the_last_one() -> None:
    found = Exemplars()
    for value, trace in ((3, "old"), (4, "new"), (5, "edge"), (7000, "large")):
        found.add(TIME, exemplar(value, trace))
    of = found.of(TIME, (1.0, 5.0, 10.0))
    assert {number: one.trace_id for number, one in of.items()} == {1: "edge", 3: "large"}
    assert found.of("other", (1.0,)) == {}


def test_there_are_only_so_many_histograms() -> None:
    found = Exemplars()
    for number in range(MOST_HISTOGRAMS + 1):
        found.add(str(number), exemplar(1))
    assert found.of(str(MOST_HISTOGRAMS), (1.0,)) == {}


def test_openmetrics_can_be_read() -> None:
    snapshot = StatsSnapshot(
        counters={"cluster.a.upstream_rq_200": 3, f"istiocustom.{labelled('istio_requests_total', {'x': 'y'})}": 2},
        gauges={"cluster.a.upstream_cx_active": 1},
        histograms={TIME: {3: 2, 100: 1}},
    )
    noted = Exemplars()
    noted.add(TIME, exemplar(3.5))
    query = StatsQuery.parse({"openmetrics": ""}, prometheus=True)
    text = render_prometheus(snapshot, query, TagExtractor(), noted)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (sample,) = families["envoy_cluster_upstream_rq"].samples
    assert (sample.labels["envoy_response_code"], sample.value) == ("200", 3)
    assert families["istio_requests_total"].samples[0].labels == {"x": "y"}
    histogram = families["envoy_http_downstream_rq_time"]
    assert histogram.type == "histogram"
    (with_one,) = [one for one in histogram.samples if one.exemplar]
    assert with_one.labels["le"] == "5"
    assert with_one.exemplar is not None
    assert with_one.exemplar.labels == {"trace_id": "a" * 32, "span_id": "b" * 16}


def test_without_openmetrics_there_are_none() -> None:
    noted = Exemplars()
    noted.add(TIME, exemplar(3))
    snapshot = StatsSnapshot(histograms={TIME: {3: 1}})
    text = render_prometheus(snapshot, StatsQuery.parse({}, prometheus=True), TagExtractor(), noted)
    assert "trace_id" not in text
    assert "EOF" not in text
