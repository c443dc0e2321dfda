"""What Envoy counts of active health checks (`cluster.<name>.health_check.`)."""

from __future__ import annotations

from pyproxy.telemetry.metrics import Counter, MirroredGauge
from pyproxy.telemetry.stat_blocks import StatsPart


class HealthCheckStats(StatsPart):
    """Made with the checker, so a cluster without one shows none of these."""

    attempt: Counter
    failure: Counter
    network_failure: Counter
    passive_failure: Counter
    success: Counter
    verify_cluster: Counter
    degraded: MirroredGauge
    healthy: MirroredGauge
