"""Circuit breakers: how much of a cluster one priority may use at once (envoy.config.cluster.v3.CircuitBreakers).

The limits are for the whole proxy. Each worker enforces ceil(limit / workers) on its own, so that the sum is never
below what is configured and above it by less than the number of workers; with one worker it is exact.
"""

from __future__ import annotations

from pyproxy.config.cluster import Thresholds
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.telemetry.metrics import StatsStore


class ResourceLimits:
    """What is in use and what may be; plain integers, read and written directly on the hot path."""

    __slots__ = (
        "connections",
        "max_connections",
        "max_pending",
        "max_requests",
        "max_retries",
        "pending",
        "requests",
        "retries",
    )

    def __init__(self, thresholds: Thresholds, workers: int = 1) -> None:
        self.connections = 0
        self.pending = 0
        self.requests = 0
        self.retries = 0
        self.max_connections = _share(thresholds.max_connections, workers)
        self.max_pending = _share(thresholds.max_pending_requests, workers)
        self.max_requests = _share(thresholds.max_requests, workers)
        self.max_retries = _share(thresholds.max_retries, workers)

    def try_acquire_connection(self) -> bool:
        if self.connections >= self.max_connections:
            return False
        self.connections += 1
        return True

    def release_connection(self) -> None:
        self.connections -= 1

    def try_acquire_pending(self) -> bool:
        if self.pending >= self.max_pending:
            return False
        self.pending += 1
        return True

    def release_pending(self) -> None:
        self.pending -= 1

    def try_acquire_request(self) -> bool:
        if self.requests >= self.max_requests:
            return False
        self.requests += 1
        return True

    def release_request(self) -> None:
        self.requests -= 1

    def try_acquire_retry(self) -> bool:
        if self.retries >= self.max_retries:
            return False
        self.retries += 1
        return True

    def release_retry(self) -> None:
        self.retries -= 1

    def __repr__(self) -> str:
        return (
            f"<ResourceLimits connections {self.connections}/{self.max_connections},"
            f" pending {self.pending}/{self.max_pending},"
            f" requests {self.requests}/{self.max_requests}, retries {self.retries}/{self.max_retries}>"
        )


class BreakerGauges:
    """What `/stats` says of one `ResourceLimits`: computed at each flush, so that the hot path only counts.

    `*_open` is 1 in each worker that has reached its limit; `remaining_*` exists where `track_remaining` asks for it.
    """

    __slots__ = ("_limits", "_open", "_remaining", "_used")

    def __init__(self, store: StatsStore, prefix: str, limits: ResourceLimits, track_remaining: bool) -> None:
        self._limits = limits
        self._open = [store.gauge(f"{prefix}.{name}_open") for name in ("cx", "rq_pending", "rq", "rq_retry")]
        names = ("cx", "pending", "rq", "retries") if track_remaining else ()
        self._remaining = [store.gauge(f"{prefix}.remaining_{name}") for name in names]
        self._used: tuple[int, ...] = ()

    def update(self) -> None:
        limits = self._limits
        used = (limits.connections, limits.pending, limits.requests, limits.retries)
        if used == self._used:
            return
        self._used = used
        most = (limits.max_connections, limits.max_pending, limits.max_requests, limits.max_retries)
        for gauge, taken, limit in zip(self._open, used, most, strict=True):
            gauge.value = int(taken >= limit)
        for gauge, taken, limit in zip(self._remaining, used, most, strict=False):
            gauge.value = max(0, limit - taken)


def apply_runtime(thresholds: Thresholds, cluster: str, priority: str, values: RuntimeValues) -> Thresholds:
    """The thresholds with what the runtime says of them (`circuit_breakers.<cluster>.<priority>.max_requests`)."""
    prefix = f"circuit_breakers.{cluster}.{priority}"

    def limit(name: str, configured: int) -> int:
        return int(values.number(f"{prefix}.{name}", configured))

    return Thresholds(
        max_connections=limit("max_connections", thresholds.max_connections),
        max_pending_requests=limit("max_pending_requests", thresholds.max_pending_requests),
        max_requests=limit("max_requests", thresholds.max_requests),
        max_retries=limit("max_retries", thresholds.max_retries),
        track_remaining=thresholds.track_remaining,
    )


def _share(limit: int, workers: int) -> int:
    return -(-limit // workers)
