from __future__ import annotations

import pytest

from pyproxy.telemetry.stats_query import BadStatsQuery, Buckets, StatsFormat, StatsQuery, StatType


def test_without_parameters_everything_is_shown_as_text() -> None:
    query = StatsQuery.parse({})
    assert query == StatsQuery()
    assert query.selects("any.name")
    assert all(query.includes(kind) for kind in StatType)


def test_parameters() -> None:
    parameters = {"usedonly": "", "filter": "^a", "type": "Gauges", "format": "json", "histogram_buckets": "detailed"}
    query = StatsQuery.parse(parameters)
    assert (query.format, query.used_only, query.type, query.buckets) == (
        StatsFormat.JSON,
        True,
        StatType.GAUGES,
        Buckets.DETAILED,
    )
    assert query.selects("a.b")
    assert not query.selects("b.a")
    assert query.includes(StatType.GAUGES)
    assert not query.includes(StatType.COUNTERS)


def test_an_inverted_filter_shows_the_rest() -> None:
    query = StatsQuery.parse({"filter": "_", "invert_filter": ""})
    assert query.selects("server.live")
    assert not query.selects("a_b")


def test_there_are_no_hidden_stats() -> None:
    assert not any(StatsQuery.parse({"hidden": "only"}).includes(kind) for kind in StatType)


def test_the_prometheus_path_needs_no_format() -> None:
    query = StatsQuery.parse({"histogram_buckets": "summary", "text_readouts": ""}, prometheus=True)
    assert (query.format, query.buckets, query.text_readouts) == (StatsFormat.PROMETHEUS, Buckets.SUMMARY, True)


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"type": "counters"}, "invalid &type= param"),
        ({"format": "xml"}, r"usage: /stats\?format="),
        ({"histogram_buckets": "some"}, r"usage: /stats\?histogram_buckets="),
        ({"histogram_buckets": "prometheusnative"}, "Invalid histogram_buckets type for non prometheus stats type"),
        ({"filter": "*"}, "Invalid regex: nothing to repeat"),
        ({"filter": "("}, "Invalid regex: missing "),
        ({"format": "prometheus", "histogram_buckets": "disjoint"}, "unsupported prometheus histogram bucket mode"),
        ({"format": "prometheus", "histogram_buckets": "prometheusnative"}, "unsupported prometheusnative histogram"),
    ],
)
def test_what_is_not_understood(parameters: dict[str, str], complaint: str) -> None:
    with pytest.raises(BadStatsQuery, match=complaint):
        StatsQuery.parse(parameters)
