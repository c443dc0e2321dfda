"""What Envoy counts of outlier detection (`cluster.<name>.outlier_detection.`)."""

from __future__ import annotations

from pyproxy.telemetry.metrics import Counter, MirroredGauge
from pyproxy.telemetry.stat_blocks import StatsPart


class OutlierStats(StatsPart):
    """Made with the detector, so a cluster without one shows none of these."""

    ejections_active: MirroredGauge
    ejections_consecutive_5xx: Counter
    ejections_detected_consecutive_5xx: Counter
    ejections_detected_consecutive_gateway_failure: Counter
    ejections_detected_consecutive_local_origin_failure: Counter
    ejections_detected_failure_percentage: Counter
    ejections_detected_local_origin_failure_percentage: Counter
    ejections_detected_local_origin_success_rate: Counter
    ejections_detected_success_rate: Counter
    ejections_enforced_consecutive_5xx: Counter
    ejections_enforced_consecutive_gateway_failure: Counter
    ejections_enforced_consecutive_local_origin_failure: Counter
    ejections_enforced_failure_percentage: Counter
    ejections_enforced_local_origin_failure_percentage: Counter
    ejections_enforced_local_origin_success_rate: Counter
    ejections_enforced_success_rate: Counter
    ejections_enforced_total: Counter
    ejections_overflow: Counter
    ejections_success_rate: Counter
    ejections_total: Counter
