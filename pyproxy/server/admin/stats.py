"""`/stats`, `/stats/prometheus`: the statistics of all processes, merged, in Envoy's formats."""

from __future__ import annotations

import asyncio

from pyproxy.server.admin.endpoint import HTML, JSON, TEXT, Endpoint, Parameter, Question, Reply, bad_request
from pyproxy.server.admin.stats_page import stats_page
from pyproxy.telemetry.prometheus import render_prometheus
from pyproxy.telemetry.shared_reader import StatsSnapshot
from pyproxy.telemetry.stats_query import BadStatsQuery, Buckets, StatsFormat, StatsQuery, StatType
from pyproxy.telemetry.stats_text import render_json, render_text

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


async def show_stats(question: Question) -> Reply:
    return await _show(question, prometheus=False)


async def show_prometheus(question: Question) -> Reply:
    return await _show(question, prometheus=True)


async def _show(question: Question, *, prometheus: bool) -> Reply:
    """Read here, rendered in a thread: a scrape of many thousand stats must not keep a probe waiting."""
    try:
        query = StatsQuery.parse(question.query, prometheus=prometheus)
    except BadStatsQuery as error:
        return bad_request(str(error))
    snapshot = question.stats.snapshot(unused=not query.used_only)
    return await asyncio.to_thread(_render, snapshot, query, question)


def _render(snapshot: StatsSnapshot, query: StatsQuery, question: Question) -> Reply:
    stats = question.stats
    match query.format:
        case StatsFormat.HTML | StatsFormat.ACTIVE_HTML:
            active = query.format is StatsFormat.ACTIVE_HTML
            return Reply(stats_page(render_text(snapshot, query), question.query, _STATS, active=active), HTML)
        case StatsFormat.TEXT:
            return Reply(render_text(snapshot, query))
        case StatsFormat.JSON:
            return Reply(render_json(snapshot, query), JSON)
        case StatsFormat.PROMETHEUS:
            kind = OPENMETRICS if query.openmetrics else TEXT
            return Reply(render_prometheus(snapshot, query, stats.tags, stats.exemplars), kind)


_COMMON = (
    Parameter("usedonly", "Only include stats that have been written by system since restart"),
    Parameter("filter", "Regular expression (Google re2) for filtering stats"),
    Parameter("invert_filter", "Invert the filter regex"),
)
_TEXT_BUCKETS = tuple(mode.value for mode in Buckets if mode not in (Buckets.DEFAULT, Buckets.NATIVE))

_STATS = (
    *_COMMON,
    Parameter("format", "Format to use", tuple(form.value for form in StatsFormat)),
    Parameter("type", "Stat types to include.", tuple(kind.value for kind in StatType)),
    Parameter("histogram_buckets", "Histogram bucket display mode", _TEXT_BUCKETS),
)

ENDPOINTS = (
    Endpoint("/stats", "print server stats", show_stats, _STATS),
    Endpoint(
        "/stats/prometheus",
        "print server stats in prometheus format",
        show_prometheus,
        (
            *_COMMON,
            Parameter("openmetrics", "As OpenMetrics, with exemplars; counters keep their names"),
            Parameter("text_readouts", "Render text_readouts as gauges with value 1"),
            Parameter("histogram_buckets", "Histogram bucket display mode", ("cumulative", "summary")),
        ),
    ),
)
