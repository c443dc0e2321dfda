"""Corners of the text and JSON forms that the state of a fresh Envoy does not reach (see `test_envoy_stats`)."""

from __future__ import annotations

import json

import pytest

from pyproxy.telemetry.shared_reader import StatsSnapshot
from pyproxy.telemetry.stats_query import StatsQuery
from pyproxy.telemetry.stats_text import render_json, render_text

SNAPSHOT = StatsSnapshot(
    counters={"b.count": 1, "a.count": 0},
    gauges={"a.gauge": -1},
    texts={"z.text": 'say "hi" ä'},
    histograms={"h.empty": {}, "h.full": {200: 1}},
    used={"b.count"},
)


def test_order_and_shapes() -> None:
    assert render_text(SNAPSHOT, StatsQuery()).splitlines()[:5] == [
        'z.text: "say "hi" ä"',
        "a.count: 0",
        "a.gauge: -1",
        "b.count: 1",
        "h.empty: No recorded values",
    ]


def test_used_only() -> None:
    query = StatsQuery.parse({"usedonly": "", "type": "Counters"})
    assert render_text(SNAPSHOT, query) == "b.count: 1\n"
    assert "h.empty" not in render_text(SNAPSHOT, StatsQuery.parse({"usedonly": ""}))


@pytest.mark.parametrize("buckets", ["", "summary", "cumulative", "disjoint", "detailed"])
def test_json_is_json_without_and_with_values(buckets: str) -> None:
    parameters = {"format": "json", "histogram_buckets": buckets}
    stats = json.loads(render_json(SNAPSHOT, StatsQuery.parse(parameters)))["stats"]
    assert stats[0] == {"name": "z.text", "value": 'say "hi" ä'}
    assert "histograms" in stats[-1]
    assert json.loads(render_json(SNAPSHOT, StatsQuery.parse(parameters | {"filter": "nosuch"}))) == {"stats": []}
