"""What Envoy counts of network filters."""

from __future__ import annotations

from pyproxy.telemetry.metrics import Counter, Gauge
from pyproxy.telemetry.stat_blocks import StatsBlock


class ConnectionLimitStats(StatsBlock):
    """`connection_limit.<stat_prefix>.`"""

    PREFIX = "connection_limit"

    limited_connections: Counter
    active_connections: Gauge


class LocalRateLimitStats(StatsBlock):
    """`local_rate_limit.<stat_prefix>.`"""

    PREFIX = "local_rate_limit"

    rate_limited: Counter
