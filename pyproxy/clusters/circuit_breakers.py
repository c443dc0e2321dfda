"""Circuit breakers: how much of a cluster one priority may use at once (envoy.config.cluster.v3.CircuitBreakers).

The limits are for the whole proxy. Each worker enforces ceil(limit / workers) on its own, so that the sum is never
below what is configured and above it by less than the number of workers; with one worker it is exact. A retry budget
is a share of what is active, so each worker takes it of its own requests.
"""

from __future__ import annotations

from pyproxy.config.cluster import Thresholds
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.telemetry.cluster_stats import BreakerStats

OWN_RETRY_PERCENT = 20.0
"""The budget where the configuration says nothing of retries."""


class ResourceLimits:
    """What is in use and what may be; plain integers, read and written directly on the hot path."""

    __slots__ = (
        "connections",
        "max_connections",
        "max_pending",
        "max_requests",
        "max_retries",
        "own_retry_limits",
        "pending",
        "requests",
        "retries",
        "retry_percent",
    )

    def __init__(self, thresholds: Thresholds, workers: int = 1) -> None:
        self.connections = 0
        self.pending = 0
        self.requests = 0
        self.retries = 0
        self.limit(thresholds, workers)

    def limit(self, thresholds: Thresholds, workers: int) -> None:
        """What is in use stays, be it more than this."""
        self.max_connections = _share(thresholds.max_connections, workers)
        self.max_pending = _share(thresholds.max_pending_requests, workers)
        self.max_requests = _share(thresholds.max_requests, workers)
        self.max_retries = _share(thresholds.max_retries, workers)
        self.retry_percent = 0.0
        """Of the requests that are active; `max_retries` is then what is allowed at least (Envoy: retry_budget)."""
        self.own_retry_limits = thresholds.own_retry_limits
        """Nothing is configured: a retry of a request of which nothing was sent is always allowed."""
        if thresholds.retry_budget is not None:
            self.retry_percent, least = thresholds.retry_budget
            self.max_retries = _share(least, workers)
        elif thresholds.own_retry_limits:
            self.retry_percent = OWN_RETRY_PERCENT

    @property
    def retry_limit(self) -> int:
        """How many retries may be active now."""
        return max(self.max_retries, int(self.retry_percent * self.requests / 100.0))

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
        if self.retries >= self.retry_limit:
            return False
        self.retries += 1
        return True

    def release_retry(self) -> None:
        self.retries -= 1

    def __repr__(self) -> str:
        return (
            f"<ResourceLimits connections {self.connections}/{self.max_connections},"
            f" pending {self.pending}/{self.max_pending},"
            f" requests {self.requests}/{self.max_requests}, retries {self.retries}/{self.retry_limit}>"
        )


class BreakerGauges:
    """What `/stats` says of one `ResourceLimits`: computed at each flush, so that the hot path only counts."""

    __slots__ = ("_limits", "_seen", "_stats", "_track_remaining")

    def __init__(self, stats: BreakerStats, limits: ResourceLimits, *, track_remaining: bool) -> None:
        self._stats = stats
        self._limits = limits
        self._track_remaining = track_remaining
        self._seen: tuple[int, ...] = () if track_remaining else (0, 0, 0, 0)

    def update(self) -> None:
        limits, stats = self._limits, self._stats
        used = (limits.connections, limits.pending, limits.requests, limits.retries)
        if used == self._seen:
            return
        self._seen = used
        stats.cx_open.value = int(limits.connections >= limits.max_connections)
        stats.rq_pending_open.value = int(limits.pending >= limits.max_pending)
        stats.rq_open.value = int(limits.requests >= limits.max_requests)
        stats.rq_retry_open.value = int(limits.retries >= limits.retry_limit)
        if self._track_remaining:
            stats.remaining_cx.value = max(0, limits.max_connections - limits.connections)
            stats.remaining_pending.value = max(0, limits.max_pending - limits.pending)
            stats.remaining_rq.value = max(0, limits.max_requests - limits.requests)
            stats.remaining_retries.value = max(0, limits.retry_limit - limits.retries)


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
        retry_budget=_budget(prefix, thresholds, values),
        own_retry_limits=thresholds.own_retry_limits and values.number(f"{prefix}.max_retries", -1.0) < 0,
        track_remaining=thresholds.track_remaining,
    )


def _budget(prefix: str, thresholds: Thresholds, values: RuntimeValues) -> tuple[float, int] | None:
    if thresholds.retry_budget is None:
        return None
    percent, least = thresholds.retry_budget
    return (
        values.number(f"{prefix}.retry_budget.budget_percent", percent),
        int(values.number(f"{prefix}.retry_budget.min_retry_concurrency", least)),
    )


def _share(limit: int, workers: int) -> int:
    return -(-limit // workers)
