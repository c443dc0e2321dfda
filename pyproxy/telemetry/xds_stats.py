"""What Envoy counts of its control plane: `control_plane.`, and the state of each subscription."""

from __future__ import annotations

from pyproxy.telemetry.metrics import Counter, Gauge, Histogram, StatsStore, TextReadout
from pyproxy.telemetry.stat_blocks import StatsBlock


class ControlPlaneStats(StatsBlock):
    """`control_plane.` of the ADS stream; of other streams below the prefix of what is subscribed."""

    PREFIX = ""

    rate_limit_enforced: Counter
    connected_state: Gauge
    pending_requests: Gauge
    identifier: TextReadout

    def __init__(self, store: StatsStore, prefix: str = "") -> None:
        super().__init__(store, f"{prefix}.control_plane" if prefix else "control_plane")


class SubscriptionStats(StatsBlock):
    """Below the prefix of what is subscribed, such as `cluster_manager.cds`. `version` is the xxHash64 of the text."""

    PREFIX = ""

    init_fetch_timeout: Counter
    update_attempt: Counter
    update_failure: Counter
    update_rejected: Counter
    update_success: Counter
    update_time: Gauge
    version: Gauge
    version_text: TextReadout
    update_duration: Histogram

    def __init__(self, store: StatsStore, prefix: str) -> None:
        super().__init__(store, prefix)
