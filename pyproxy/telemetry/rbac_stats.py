"""What Envoy counts of RBAC filters."""

from __future__ import annotations

from pyproxy.telemetry.metrics import Counter, StatsStore
from pyproxy.telemetry.stat_blocks import StatsBlock


class RbacStats(StatsBlock):
    """`<stat prefix>.rbac.`: a filter, or all that share a stat prefix. Shadow rules may have a prefix of their own
    below it; a prefix that ends with a dot gets no other (Envoy: statPrefixJoin)."""

    PREFIX = ""

    allowed: Counter
    denied: Counter

    def __init__(self, store: StatsStore, stat_prefix: str, shadow_prefix: str = "") -> None:
        super().__init__(store, f"{stat_prefix.removesuffix('.')}.rbac")
        shadow = f"{shadow_prefix.removesuffix('.')}." if shadow_prefix else ""
        self.shadow_allowed = self.scope.counter(f"{shadow}shadow_allowed")
        self.shadow_denied = self.scope.counter(f"{shadow}shadow_denied")
