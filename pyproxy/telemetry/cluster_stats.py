"""What Envoy counts of a cluster (`cluster.<name>.`), and of the cluster manager.

Stats that every worker sees alike, such as the number of members, are Mirrored: shown once, not once per worker.
"""

from __future__ import annotations

import functools

from pyproxy.telemetry.health_check_stats import HealthCheckStats
from pyproxy.telemetry.metrics import Counter, Gauge, Histogram, MirroredCounter, MirroredGauge, StatsStore
from pyproxy.telemetry.outlier_stats import OutlierStats
from pyproxy.telemetry.stat_blocks import ResponseCodes, StatsBlock, StatsPart
from pyproxy.telemetry.tls_stats import TlsStats


class BreakerStats(StatsPart):
    """`circuit_breakers.<priority>.`: open is 1 while a limit is reached in any worker."""

    UNLISTED = frozenset(
        {"remaining_cx", "remaining_cx_pools", "remaining_pending", "remaining_retries", "remaining_rq"}
    )

    cx_open: MirroredGauge
    cx_pool_open: MirroredGauge
    rq_open: MirroredGauge
    rq_pending_open: MirroredGauge
    rq_retry_open: MirroredGauge
    remaining_cx: Gauge
    remaining_cx_pools: Gauge
    remaining_pending: Gauge
    remaining_retries: Gauge
    remaining_rq: Gauge


class OriginStats:
    """Responses to requests of one origin, `external.` or `internal.` (x-envoy-internal).

    What is counted here also counts for the cluster: `codes[200].value += 1` and `upstream_rq_time.record(12)` are
    all there is to do for a response.
    """

    __slots__ = ("codes", "upstream_rq_time")

    def __init__(self, cluster: ClusterStats, origin: str) -> None:
        self.codes = ResponseCodes(cluster.scope, (f"{origin}.", ""))
        self.upstream_rq_time = cluster.scope.histogram(f"{origin}.upstream_rq_time")
        self.upstream_rq_time.parents = (cluster.upstream_rq_time,)


class CanaryStats:
    """`canary.`: the same once more for hosts that are marked as canaries, or say so (x-envoy-upstream-canary)."""

    __slots__ = ("codes", "upstream_rq_time")

    def __init__(self, cluster: ClusterStats) -> None:
        self.codes = ResponseCodes(cluster.scope, ("canary.",))
        self.upstream_rq_time = cluster.scope.histogram("canary.upstream_rq_time")


class SocketMatchStats(StatsPart):
    """`default.`: how many hosts got the cluster's own transport socket, and not one of `transport_socket_matches`."""

    total_match_count: MirroredCounter


class HashingStats(StatsPart):
    """`ring_hash_lb.` and `maglev_lb.`: how evenly hosts share the ring or the table."""

    size: MirroredGauge
    min_hashes_per_host: MirroredGauge
    max_hashes_per_host: MirroredGauge
    min_entries_per_host: MirroredGauge
    max_entries_per_host: MirroredGauge


class ClusterStats(StatsBlock):
    """`cluster.<name>.`; the name is `ClusterConfig.stat_name`."""

    PREFIX = "cluster"
    UNLISTED = frozenset(
        {
            "lb_subsets_active",
            "lb_subsets_created",
            "lb_subsets_fallback",
            "lb_subsets_fallback_panic",
            "lb_subsets_selected",
            "original_dst_host_invalid",
            "upstream_rq_time",
        }
    )

    assignment_stale: Counter
    assignment_timeout_received: Counter
    assignment_use_cached: Counter
    bind_errors: Counter
    lb_healthy_panic: Counter
    lb_subsets_created: MirroredCounter
    lb_local_cluster_not_ok: Counter
    lb_recalculate_zone_structures: Counter
    lb_subsets_fallback: Counter
    lb_subsets_fallback_panic: Counter
    lb_subsets_selected: Counter
    lb_zone_cluster_too_small: Counter
    lb_zone_no_capacity_left: Counter
    lb_zone_routing_all_directly: Counter
    lb_zone_routing_cross_zone: Counter
    lb_zone_routing_sampled: Counter
    membership_change: MirroredCounter
    original_dst_host_invalid: Counter
    retry_or_shadow_abandoned: Counter
    update_attempt: Counter
    update_empty: Counter
    update_failure: Counter
    update_no_rebuild: Counter
    update_success: Counter
    upstream_cx_close_notify: Counter
    upstream_cx_connect_attempts_exceeded: Counter
    upstream_cx_connect_fail: Counter
    upstream_cx_connect_timeout: Counter
    upstream_cx_destroy: Counter
    upstream_cx_destroy_local: Counter
    upstream_cx_destroy_local_with_active_rq: Counter
    upstream_cx_destroy_remote: Counter
    upstream_cx_destroy_remote_with_active_rq: Counter
    upstream_cx_destroy_with_active_rq: Counter
    upstream_cx_http1_total: Counter
    upstream_cx_http2_total: Counter
    upstream_cx_idle_timeout: Counter
    upstream_cx_max_duration_reached: Counter
    upstream_cx_max_requests: Counter
    upstream_cx_none_healthy: Counter
    upstream_cx_overflow: Counter
    upstream_cx_pool_overflow: Counter
    upstream_cx_protocol_error: Counter
    upstream_cx_rx_bytes_total: Counter
    upstream_cx_total: Counter
    upstream_cx_tx_bytes_total: Counter
    upstream_flow_control_backed_up_total: Counter
    upstream_flow_control_drained_total: Counter
    upstream_flow_control_paused_reading_total: Counter
    upstream_flow_control_resumed_reading_total: Counter
    upstream_internal_redirect_failed_total: Counter
    upstream_internal_redirect_succeeded_total: Counter
    upstream_rq_active_overflow: Counter
    upstream_rq_cancelled: Counter
    upstream_rq_completed: Counter
    upstream_rq_maintenance_mode: Counter
    upstream_rq_max_duration_reached: Counter
    upstream_rq_pending_failure_eject: Counter
    upstream_rq_pending_overflow: Counter
    upstream_rq_pending_total: Counter
    upstream_rq_per_try_idle_timeout: Counter
    upstream_rq_per_try_timeout: Counter
    upstream_rq_retry: Counter
    upstream_rq_retry_backoff_exponential: Counter
    upstream_rq_retry_backoff_ratelimited: Counter
    upstream_rq_retry_limit_exceeded: Counter
    upstream_rq_retry_overflow: Counter
    upstream_rq_retry_success: Counter
    upstream_rq_rx_reset: Counter
    upstream_rq_timeout: Counter
    upstream_rq_total: Counter
    upstream_rq_tx_reset: Counter

    lb_subsets_active: MirroredGauge
    max_host_weight: MirroredGauge
    membership_degraded: MirroredGauge
    membership_excluded: MirroredGauge
    membership_healthy: MirroredGauge
    membership_total: MirroredGauge
    upstream_cx_active: Gauge
    upstream_cx_rx_bytes_buffered: Gauge
    upstream_cx_tx_bytes_buffered: Gauge
    upstream_rq_active: Gauge
    upstream_rq_pending_active: Gauge
    version: MirroredGauge
    warming_state: MirroredGauge

    upstream_cx_connect_ms: Histogram
    upstream_cx_length_ms: Histogram
    upstream_rq_per_cx: Histogram
    upstream_rq_time: Histogram
    """Fed by `external` and `internal`."""

    def __init__(self, store: StatsStore, name: str) -> None:
        # A colon would end the name in the text form of /stats (Envoy: Stats::Utility::sanitizeStatsName).
        super().__init__(store, name.replace(":", "_"), _breaker_table())

    @functools.cached_property
    def external(self) -> OriginStats:
        return OriginStats(self, "external")

    @functools.cached_property
    def internal(self) -> OriginStats:
        return OriginStats(self, "internal")

    @functools.cached_property
    def canary(self) -> CanaryStats:
        return CanaryStats(self)

    @functools.cached_property
    def default_socket(self) -> SocketMatchStats:
        return SocketMatchStats(self, "default.")

    @functools.cached_property
    def ring_hash_lb(self) -> HashingStats:
        return HashingStats(self, "ring_hash_lb.")

    @functools.cached_property
    def maglev_lb(self) -> HashingStats:
        return HashingStats(self, "maglev_lb.")

    @functools.cached_property
    def retry_codes(self) -> ResponseCodes:
        """`retry.`: the responses that were not passed on because the request was tried again."""
        return ResponseCodes(self.scope, ("retry.",))

    @functools.cached_property
    def ssl(self) -> TlsStats:
        return TlsStats(self)

    @functools.cached_property
    def health_check(self) -> HealthCheckStats:
        return HealthCheckStats(self, "health_check.")

    @functools.cached_property
    def outlier_detection(self) -> OutlierStats:
        return OutlierStats(self, "outlier_detection.")

    @functools.cached_property
    def circuit_breakers_default(self) -> BreakerStats:
        return BreakerStats(self, "circuit_breakers.default.")

    @functools.cached_property
    def circuit_breakers_high(self) -> BreakerStats:
        return BreakerStats(self, "circuit_breakers.high.")


class ClusterManagerStats(StatsBlock):
    """`cluster_manager.`"""

    PREFIX = "cluster_manager"

    cluster_added: MirroredCounter
    cluster_modified: MirroredCounter
    cluster_removed: MirroredCounter
    cluster_updated: MirroredCounter
    active_clusters: MirroredGauge
    warming_clusters: MirroredGauge


@functools.cache
def _breaker_table() -> str:
    return BreakerStats.lines("circuit_breakers.default.") + BreakerStats.lines("circuit_breakers.high.")
