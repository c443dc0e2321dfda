"""What is counted of DNS."""

from __future__ import annotations

import functools

from pyproxy.telemetry.metrics import Counter, Gauge
from pyproxy.telemetry.stat_blocks import StatsBlock, StatsPart


class DnsCacheStats(StatsBlock):
    """`dns_cache.<name>.` (Envoy: DNS cache of dynamic forward proxies)."""

    PREFIX = "dns_cache"

    dns_query_attempt: Counter
    dns_query_failure: Counter
    dns_query_success: Counter
    dns_query_timeout: Counter
    dns_rq_pending_overflow: Counter
    host_added: Counter
    host_address_changed: Counter
    host_overflow: Counter
    host_removed: Counter

    num_hosts: Gauge

    @functools.cached_property
    def circuit_breakers(self) -> DnsBreakerStats:
        return DnsBreakerStats(self, "circuit_breakers.")


class DnsBreakerStats(StatsPart):
    """Requests that wait for an answer."""

    rq_pending_open: Gauge
    rq_pending_remaining: Gauge


class CaresStats(StatsBlock):
    """`dns.cares.`, of all resolvers together (Envoy: DnsResolverImpl)."""

    PREFIX = "dns.cares"

    get_addr_failure: Counter
    not_found: Counter
    reinits: Counter
    resolve_total: Counter
    timeout: Counter

    pending_resolutions: Gauge
