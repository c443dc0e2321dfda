"""What Envoy counts of TCP proxies (`tcp.<stat_prefix>.`)."""

from __future__ import annotations

from pyproxy.telemetry.metrics import Counter, Gauge, StatsStore
from pyproxy.telemetry.stat_blocks import StatsBlock


class TcpProxyStats(StatsBlock):
    """`tcp.<stat_prefix>.`: a TCP proxy, or all that share a stat prefix."""

    PREFIX = "tcp"

    downstream_cx_no_route: Counter
    downstream_cx_rx_bytes_total: Counter
    downstream_cx_total: Counter
    downstream_cx_tx_bytes_total: Counter
    downstream_flow_control_paused_reading_total: Counter
    downstream_flow_control_resumed_reading_total: Counter
    idle_timeout: Counter
    max_downstream_connection_duration: Counter
    upstream_flush_total: Counter
    downstream_cx_rx_bytes_buffered: Gauge
    downstream_cx_tx_bytes_buffered: Gauge
    upstream_flush_active: Gauge

    def __init__(self, store: StatsStore, stat_prefix: str) -> None:
        super().__init__(store, stat_prefix.replace(":", "_"))


class TcpOnDemandStats(StatsBlock):
    """`tcp.<stat_prefix>.` too, where clusters are asked for on demand."""

    PREFIX = "tcp"

    on_demand_cluster_attempt: Counter
    on_demand_cluster_missing: Counter
    on_demand_cluster_success: Counter
    on_demand_cluster_timeout: Counter

    def __init__(self, store: StatsStore, stat_prefix: str) -> None:
        super().__init__(store, stat_prefix.replace(":", "_"))
