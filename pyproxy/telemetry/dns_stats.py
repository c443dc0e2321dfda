"""What is counted of DNS."""

from __future__ import annotations

from pyproxy.telemetry.metrics import Counter, Gauge
from pyproxy.telemetry.stat_blocks import StatsBlock


class CaresStats(StatsBlock):
    """`dns.cares.`, of all resolvers together (Envoy: DnsResolverImpl)."""

    PREFIX = "dns.cares"

    get_addr_failure: Counter
    not_found: Counter
    reinits: Counter
    resolve_total: Counter
    timeout: Counter

    pending_resolutions: Gauge
