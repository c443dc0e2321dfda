"""The parameters of `/stats` and `/stats/prometheus`, with Envoy's names, choices and complaints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Buckets(Enum):
    """`histogram_buckets`: how histograms are shown. DEFAULT is quantiles in text and JSON, buckets in Prometheus."""

    DEFAULT = ""
    CUMULATIVE = "cumulative"
    DISJOINT = "disjoint"
    DETAILED = "detailed"
    SUMMARY = "summary"
    NATIVE = "prometheusnative"


class StatType(Enum):
    ALL = "All"
    COUNTERS = "Counters"
    GAUGES = "Gauges"
    HISTOGRAMS = "Histograms"
    TEXT_READOUTS = "TextReadouts"


class StatsFormat(Enum):
    HTML = "html"
    ACTIVE_HTML = "active-html"
    TEXT = "text"
    JSON = "json"
    PROMETHEUS = "prometheus"


class BadStatsQuery(ValueError):
    """A parameter that cannot be understood; its text is the answer, with status 400."""


@dataclass(frozen=True, slots=True)
class StatsQuery:
    """Which stats are wanted and how."""

    format: StatsFormat = StatsFormat.TEXT
    used_only: bool = False
    filter: re.Pattern[str] | None = None
    inverted: bool = False
    type: StatType = StatType.ALL
    buckets: Buckets = Buckets.DEFAULT
    text_readouts: bool = False
    """Prometheus only shows texts when asked to."""
    openmetrics: bool = False
    """Prometheus: as OpenMetrics, which has exemplars."""
    hidden_only: bool = False
    """There are no hidden stats, so this selects nothing."""

    @staticmethod
    def parse(parameters: Mapping[str, str], *, prometheus: bool = False) -> StatsQuery:
        """`prometheus`: the path was /stats/prometheus. BadStatsQuery where Envoy answers 400."""
        query = StatsQuery(
            format=StatsFormat.PROMETHEUS if prometheus else _format(parameters.get("format", "text")),
            used_only="usedonly" in parameters,
            filter=_filter(parameters.get("filter", "")),
            inverted="invert_filter" in parameters,
            type=_type(parameters.get("type", "All")),
            buckets=_buckets(parameters.get("histogram_buckets", "")),
            text_readouts="text_readouts" in parameters,
            openmetrics="openmetrics" in parameters,
            hidden_only=parameters.get("hidden") == "only",
        )
        _check_buckets(query)
        return query

    def selects(self, name: str) -> bool:
        """Whether a name passes the filter."""
        if self.filter is None:
            return True
        return (self.filter.search(name) is None) == self.inverted

    def includes(self, kind: StatType) -> bool:
        return self.type in (StatType.ALL, kind) and not self.hidden_only


def _format(value: str) -> StatsFormat:
    try:
        return StatsFormat(value)
    except ValueError:
        raise BadStatsQuery("usage: /stats?format=(html|active-html|json|prometheus|text)\n\n") from None


def _type(value: str) -> StatType:
    try:
        return StatType(value)
    except ValueError:
        raise BadStatsQuery("invalid &type= param") from None


def _buckets(value: str) -> Buckets:
    try:
        return Buckets(value)
    except ValueError:
        raise BadStatsQuery(
            "usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary|prometheusnative)\n"
        ) from None


def _check_buckets(query: StatsQuery) -> None:
    if query.format is not StatsFormat.PROMETHEUS:
        if query.buckets is Buckets.NATIVE:
            raise BadStatsQuery("Invalid histogram_buckets type for non prometheus stats type")
    elif query.buckets is Buckets.NATIVE:
        raise BadStatsQuery("unsupported prometheusnative histogram type when not using protobuf exposition format")
    elif query.buckets in (Buckets.DISJOINT, Buckets.DETAILED):
        raise BadStatsQuery("unsupported prometheus histogram bucket mode")


def _filter(pattern: str) -> re.Pattern[str] | None:
    if not pattern:
        return None
    try:
        return re.compile(pattern)
    except (re.error, RecursionError) as error:
        raise BadStatsQuery(f"Invalid regex: {error}") from None
