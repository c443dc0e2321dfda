"""Circuit breakers: how much of a cluster one priority may use at once (envoy.config.cluster.v3.CircuitBreakers).

The limits are for the whole proxy. Each worker enforces ceil(limit / workers) on its own, so that the sum is never
below what is configured and above it by less than the number of workers; with one worker it is exact. A retry budget
is a share of what is active, so each worker takes it of its own requests.
"""

from __future__ import annotations

from typing import Final

from pyproxy.config.cluster import ClusterConfig, Thresholds
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.telemetry.cluster_stats import BreakerStats, ClusterStats
from pyproxy.telemetry.events import EventKind, Events
from pyproxy.telemetry.stat import Counter

PRIORITIES: Final = ("default", "high")
RESOURCES: Final = ("connections", "pending requests", "requests", "retries")
OWN_RETRY_PERCENT: Final = 20.0
"""The budget where the configuration says nothing of retries."""
CLOSED_AFTER: Final = 20
"""Looks (4 a second) without anybody turned away, after which a breaker is told to be closed."""
_CHANGED = 16
"""The limits are others than when somebody looked."""


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
        "refused",
        "requests",
        "retries",
        "retry_percent",
    )

    def __init__(self, thresholds: Thresholds, workers: int = 1) -> None:
        self.connections = 0
        self.pending = 0
        self.requests = 0
        self.retries = 0
        self.refused = 0
        """Which of `RESOURCES` were asked for in vain since somebody looked: one bit for each, and `_CHANGED`."""
        self.limit(thresholds, workers)
        self.refused = 0

    def limit(self, thresholds: Thresholds, workers: int) -> None:
        """What is in use stays, be it more than this."""
        self.refused |= _CHANGED
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
            self.refused |= 1
            return False
        self.connections += 1
        return True

    def release_connection(self) -> None:
        self.connections -= 1

    def try_acquire_pending(self) -> bool:
        if self.pending >= self.max_pending:
            self.refused |= 2
            return False
        self.pending += 1
        return True

    def release_pending(self) -> None:
        self.pending -= 1

    def try_acquire_request(self) -> bool:
        if self.requests >= self.max_requests:
            self.refused |= 4
            return False
        self.requests += 1
        return True

    def refuse_request(self, overflow: Counter) -> None:
        """One that is counted as active already."""
        self.refused |= 4
        overflow.value += 1

    def release_request(self) -> None:
        self.requests -= 1

    def try_acquire_retry(self) -> bool:
        if self.retries >= self.retry_limit:
            self.refused |= 8
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


class BreakerWatch:
    """Tells of breakers that open, and that have been closed for a while: a breaker at its edge opens and closes at
    every request, and is told of once."""

    __slots__ = ("_cluster", "_events", "_left", "_limits", "_priority", "open")

    def __init__(self, cluster: str, priority: str, limits: ResourceLimits, events: Events) -> None:
        self._cluster = cluster
        self._priority = priority
        self._limits = limits
        self._events = events
        self._left = [0, 0, 0, 0]  # looks until it counts as closed
        self.open = False
        """Some of them are."""

    def look(self, used: tuple[int, int, int, int]) -> None:
        """What is in use, in the order of `RESOURCES`."""
        limits = self._limits
        most = (limits.max_connections, limits.max_pending, limits.max_requests, limits.retry_limit)
        refused, limits.refused = limits.refused, 0
        for at in range(4):
            left = self._left[at]
            if used[at] >= most[at] or refused & 1 << at:
                self._left[at] = CLOSED_AFTER
                if not left:
                    self._tell(EventKind.BREAKER_OPENED, at, most[at])
            elif left:
                self._left[at] = left - 1
                if left == 1:
                    self._tell(EventKind.BREAKER_CLOSED, at, most[at])
        self.open = any(self._left)

    def _tell(self, kind: EventKind, at: int, most: int) -> None:
        what = RESOURCES[at]
        state = f"all {most} {what} are in use" if kind is EventKind.BREAKER_OPENED else f"there are {what} again"
        subject = f"{self._cluster} ({self._priority})"
        fields = {"cluster": self._cluster, "priority": self._priority, "resource": what, "limit": most}
        self._events.emit(kind, subject, f"{subject}: {state}", **fields)


class BreakerGauges:
    """What `/stats` says of one `ResourceLimits`: computed at each flush, so that the hot path only counts. `watch` is
    told which breakers are open, too."""

    __slots__ = ("_limits", "_seen", "_stats", "_track_remaining", "_watch")

    def __init__(
        self, stats: BreakerStats, limits: ResourceLimits, watch: BreakerWatch, *, track_remaining: bool
    ) -> None:
        self._watch = watch
        self._stats = stats
        self._limits = limits
        self._track_remaining = track_remaining
        self._seen: tuple[int, ...] = () if track_remaining else (0, 0, 0, 0)

    def update(self) -> None:
        limits, stats = self._limits, self._stats
        used = (limits.connections, limits.pending, limits.requests, limits.retries)
        if used == self._seen and not limits.refused and not self._watch.open:
            return
        self._seen = used
        self._watch.look(used)
        stats.cx_open.value = _is_open(limits.connections, limits.max_connections)
        stats.rq_pending_open.value = _is_open(limits.pending, limits.max_pending)
        stats.rq_open.value = _is_open(limits.requests, limits.max_requests)
        stats.rq_retry_open.value = _is_open(limits.retries, limits.retry_limit)
        if self._track_remaining:
            stats.remaining_cx.value = max(0, limits.max_connections - limits.connections)
            stats.remaining_pending.value = max(0, limits.max_pending - limits.pending)
            stats.remaining_rq.value = max(0, limits.max_requests - limits.requests)
            stats.remaining_retries.value = max(0, limits.retry_limit - limits.retries)


def build_breakers(
    config: ClusterConfig, stats: ClusterStats, values: RuntimeValues, events: Events, workers: int
) -> tuple[tuple[ResourceLimits, ResourceLimits], list[BreakerGauges]]:
    """What a cluster may use, for each of `PRIORITIES`, and what is told of it."""
    limits = []
    gauges = []
    parts = (stats.circuit_breakers_default, stats.circuit_breakers_high)
    for priority, configured, part in zip(PRIORITIES, config.thresholds, parts, strict=True):
        thresholds = apply_runtime(configured, config.name, priority, values)
        limit = ResourceLimits(thresholds, workers)
        limits.append(limit)
        watch = BreakerWatch(config.name, priority, limit, events)
        gauges.append(BreakerGauges(part, limit, watch, track_remaining=thresholds.track_remaining))
    return (limits[0], limits[1]), gauges


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


def _is_open(used: int, most: int) -> int:
    """As Envoy tells it: where none may be had, none was ever taken, and the gauge is as it was at the beginning."""
    return int(0 < used >= most)
