"""What Envoy counts of a subscription: `update_success`, `version` and the like."""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy import clock
from pyproxy.telemetry.shared_reader import StatsSnapshot
from pyproxy.xds_client.version_hash import xxh64


@dataclass(slots=True)
class SubscriptionCounts:
    """Plain numbers; names come when somebody looks."""

    attempt: int = 0
    success: int = 0
    failure: int = 0
    rejected: int = 0
    empty: int = 0
    fetch_timeout: int = 0
    reload: int = 0
    """Updates that brought something new."""
    updated: float = 0.0
    version: str = ""

    def accepted(self, version: str) -> None:
        self.attempt += 1
        self.success += 1
        self.version = version
        self.updated = clock.wall()

    def refused(self) -> None:
        self.attempt += 1
        self.rejected += 1

    def failed(self) -> None:
        self.attempt += 1
        self.failure += 1

    def add_to(self, snapshot: StatsSnapshot, prefix: str, *, reloads: bool = False, empty: bool = False) -> None:
        """As `<prefix>.update_success` and so on. `reloads`, `empty`: what Envoy counts of some types only."""
        counters = {
            "init_fetch_timeout": self.fetch_timeout,
            "update_attempt": self.attempt,
            "update_failure": self.failure,
            "update_rejected": self.rejected,
            "update_success": self.success,
        }
        if reloads:
            counters["config_reload"] = self.reload
        if empty:
            counters["update_empty"] = self.empty
        for name, value in counters.items():
            full = f"{prefix}.{name}"
            snapshot.counters[full] = snapshot.counters.get(full, 0) + value
            if value:
                snapshot.used.add(full)
        gauges = {
            "update_time": int(self.updated * 1000),
            "version": xxh64(self.version.encode()) if self.success else 0,
        }
        for name, value in gauges.items():
            snapshot.gauges[f"{prefix}.{name}"] = value
            if self.success:
                snapshot.used.add(f"{prefix}.{name}")
        if self.success:
            snapshot.texts[f"{prefix}.version_text"] = self.version
