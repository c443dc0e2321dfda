"""Outlier detection: hosts that fail while others do not are taken out of the rotation for a while (Envoy).

Each worker judges by the requests that it has carried, and tells the others whom it takes out: so a host is out
everywhere as soon as one worker has seen enough, and `max_ejection_percent` holds for the proxy.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Final

from pyproxy import clock
from pyproxy.clusters.host import HealthFlag, Host
from pyproxy.clusters.outlier_log import Ejection, OutlierLog
from pyproxy.clusters.outlier_runtime import apply_runtime
from pyproxy.clusters.peers import Topic
from pyproxy.config.outlier import OutlierConfig
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.errors import ProxyError, ResponseFlag
from pyproxy.tasks import call_every
from pyproxy.telemetry.outlier_stats import OutlierStats

_GATEWAY: Final = frozenset((502, 503, 504))
_NOBODYS: Final = frozenset(
    (
        ResponseFlag.UPSTREAM_OVERFLOW,
        ResponseFlag.NO_HEALTHY_UPSTREAM,
        ResponseFlag.DOWNSTREAM_CONNECTION_TERMINATION,
        ResponseFlag.UPSTREAM_MAX_STREAM_DURATION_REACHED,
    )
)
"""How a try can end without its host having done anything."""


Tell = Callable[[Topic, Host, list[Any]], None]
"""Tells the other workers of a host."""


class Kind(Enum):
    """What a host was found to be. The value is Envoy's word for it in statistics."""

    CONSECUTIVE_5XX = "consecutive_5xx"
    GATEWAY_FAILURE = "consecutive_gateway_failure"
    LOCAL_ORIGIN = "consecutive_local_origin_failure"
    SUCCESS_RATE = "success_rate"
    LOCAL_SUCCESS_RATE = "local_origin_success_rate"
    FAILURE_PERCENTAGE = "failure_percentage"
    LOCAL_FAILURE_PERCENTAGE = "local_origin_failure_percentage"


_ENFORCING: Final[Mapping[Kind, str]] = {
    Kind.CONSECUTIVE_5XX: "enforcing_consecutive_5xx",
    Kind.GATEWAY_FAILURE: "enforcing_consecutive_gateway_failure",
    Kind.LOCAL_ORIGIN: "enforcing_consecutive_local_origin_failure",
    Kind.SUCCESS_RATE: "enforcing_success_rate",
    Kind.LOCAL_SUCCESS_RATE: "enforcing_local_origin_success_rate",
    Kind.FAILURE_PERCENTAGE: "enforcing_failure_percentage",
    Kind.LOCAL_FAILURE_PERCENTAGE: "enforcing_failure_percentage_local_origin",
}


_LOGGED: Final[Mapping[Kind, str]] = {
    Kind.CONSECUTIVE_5XX: "CONSECUTIVE_5XX",
    Kind.GATEWAY_FAILURE: "CONSECUTIVE_GATEWAY_FAILURE",
    Kind.LOCAL_ORIGIN: "CONSECUTIVE_LOCAL_ORIGIN_FAILURE",
    Kind.SUCCESS_RATE: "SUCCESS_RATE",
    Kind.LOCAL_SUCCESS_RATE: "SUCCESS_RATE_LOCAL_ORIGIN",
    Kind.FAILURE_PERCENTAGE: "FAILURE_PERCENTAGE",
    Kind.LOCAL_FAILURE_PERCENTAGE: "FAILURE_PERCENTAGE_LOCAL_ORIGIN",
}
"""Envoy's word in event logs."""


class Tally:
    """Successes of one interval."""

    __slots__ = ("good", "rate", "total")

    def __init__(self) -> None:
        self.good = self.total = 0
        self.rate = -1.0
        """Percent of the last interval that was judged; -1 where it was not."""


class HostMonitor:
    """What was seen of one host."""

    __slots__ = (
        "_detector",
        "backoff",
        "config",
        "consecutive_5xx",
        "consecutive_gateway",
        "consecutive_local",
        "ejected_at",
        "ejections",
        "external",
        "host",
        "jitter",
        "local",
        "ours",
        "returned_at",
    )

    def __init__(self, detector: OutlierDetector, host: Host, config: OutlierConfig) -> None:
        self._detector = detector
        self.config = config
        self.host = host
        self.consecutive_5xx = self.consecutive_gateway = self.consecutive_local = 0
        self.external = Tally()
        self.local = Tally()
        self.backoff = 0
        self.ejected_at = 0.0
        self.ours = False
        """This worker has taken it out."""
        self.returned_at = 0.0
        self.ejections = 0
        self.jitter = 0.0

    def put_status(self, status: int, trace_id: str = "") -> None:
        """The host answered. An ejection tells of the trace of the request that was one too many."""
        if self.config.split_external_local_origin_errors:
            self._reached()
        self._put(status, trace_id)

    def put_error(self, error: ProxyError, trace_id: str = "", *, connected: bool = False) -> None:
        """There was no answer. Whose fault that is cannot be told, unless the configuration wants it split; then a
        connection that was had counts for the host, before what went wrong counts against it (Envoy)."""
        flag = error.flag
        if flag in _NOBODYS or flag is None:
            return
        if self.config.split_external_local_origin_errors:
            if connected:
                self._reached()
            self._not_reached(trace_id)
        else:
            self._put(504 if flag is ResponseFlag.UPSTREAM_REQUEST_TIMEOUT else 503, trace_id)

    def put_connected(self) -> None:
        """A TCP connection was had, which is all that is asked of it."""
        if self.config.split_external_local_origin_errors:
            self._reached()
        else:
            self._put(200, "")

    def _put(self, status: int, trace_id: str) -> None:
        self.external.total += 1
        if status < 500:
            self.external.good += 1
            self.consecutive_5xx = self.consecutive_gateway = 0
            return
        config = self.config
        if status in _GATEWAY:
            self.consecutive_gateway += 1
            if self.consecutive_gateway == config.consecutive_gateway_failure:
                self._detector.found(self, Kind.GATEWAY_FAILURE, trace_id)
        else:
            self.consecutive_gateway = 0
        self.consecutive_5xx += 1
        if self.consecutive_5xx == config.consecutive_5xx:
            self._detector.found(self, Kind.CONSECUTIVE_5XX, trace_id)

    def _reached(self) -> None:
        self.local.total += 1
        self.local.good += 1
        self.consecutive_local = 0

    def _not_reached(self, trace_id: str) -> None:
        self.local.total += 1
        self.consecutive_local += 1
        if self.consecutive_local == self.config.consecutive_local_origin_failure:
            self._detector.found(self, Kind.LOCAL_ORIGIN, trace_id)

    def told(self) -> list[Any]:
        """Its ejection, for other workers."""
        return [self.ejected_at, self.backoff, self.jitter, self.ejections]

    def forget(self) -> None:
        """A few new errors are not to finish what old ones began."""
        self.consecutive_5xx = self.consecutive_gateway = self.consecutive_local = 0


class OutlierDetector:
    """Of one cluster. `on_change` is called when a host was taken out of the rotation, or put back."""

    def __init__(
        self,
        config: OutlierConfig,
        stats: OutlierStats,
        loop: asyncio.AbstractEventLoop,
        rng: random.Random,
        log: OutlierLog,
        on_change: Callable[[], None],
        tell: Tell,
        values: RuntimeValues,
    ) -> None:
        self._tell = tell
        self._configured = config
        self._values = values
        self._config = config = apply_runtime(config, values)
        self._stats = stats
        self._rng = rng
        self._log = log
        self._on_change = on_change
        self._monitors: dict[Host, HostMonitor] = {}
        self._active = 0
        self._loop = loop
        self._stop = call_every(loop, config.interval, self.judge)
        self._forget = values.watch(self._on_values)

    def watch(self, hosts: Iterable[Host]) -> None:
        """These are the hosts now."""
        before, self._monitors = self._monitors, {}
        for host in hosts:
            monitor = before.pop(host, None) or HostMonitor(self, host, self._config)
            host.outlier = monitor
            self._monitors[host] = monitor
        for host in before:
            host.outlier = None
            if host.flags & HealthFlag.FAILED_OUTLIER_CHECK:
                self._count_active(-1)

    def _on_values(self) -> None:
        """Runtime values have changed."""
        before, self._config = self._config, apply_runtime(self._configured, self._values)
        for monitor in self._monitors.values():
            monitor.config = self._config
        if self._config.interval != before.interval:
            self._stop()
            self._stop = call_every(self._loop, self._config.interval, self.judge)

    def close(self) -> None:
        self._forget()
        self._stop()
        self._log.close()

    def found(self, monitor: HostMonitor, kind: Kind, trace_id: str) -> None:
        """A host has failed so often in a row that it is out."""
        if monitor.host.flags & HealthFlag.FAILED_OUTLIER_CHECK or monitor.host not in self._monitors:
            return
        self._detected(kind)
        if kind is Kind.CONSECUTIVE_5XX:
            self._stats.ejections_consecutive_5xx.value += 1
        self._eject(monitor, kind, trace_id=trace_id)
        match kind:  # what has counted up to here has had its effect
            case Kind.CONSECUTIVE_5XX:
                monitor.consecutive_5xx = 0
            case Kind.GATEWAY_FAILURE:
                monitor.consecutive_gateway = 0
            case _:
                monitor.consecutive_local = 0

    def hear(self, host: Host, topic: Topic, values: list[Any]) -> None:
        """What another worker has done."""
        monitor = self._monitors.get(host)
        if monitor is None:
            return
        out = bool(host.flags & HealthFlag.FAILED_OUTLIER_CHECK)
        if topic is Topic.EJECTED and not out:
            monitor.ejected_at, monitor.backoff, monitor.jitter, monitor.ejections = values
            self._take_out(monitor)
        elif topic is Topic.RETURNED and out:
            self._uneject(monitor)

    def tell_all(self) -> None:
        """For a worker that begins to use the cluster."""
        for monitor in self._monitors.values():
            # Not only those that this worker has taken out: who has may be the one that is gone.
            if monitor.host.flags & HealthFlag.FAILED_OUTLIER_CHECK:
                self._tell(Topic.EJECTED, monitor.host, monitor.told())

    def recovered(self, host: Host) -> None:
        """An active health check has passed (Envoy: successful_active_health_check_uneject_host)."""
        monitor = self._monitors.get(host)
        if (
            monitor is not None
            and self._config.successful_active_health_check_uneject_host
            and host.flags & HealthFlag.FAILED_OUTLIER_CHECK
        ):
            self._uneject(monitor)

    def judge(self) -> None:
        """An interval is over: who may come back, and who stands out."""
        clock.tick()
        for monitor in list(self._monitors.values()):
            self._look_at_ejection(monitor)
        monitors = self._monitors.values()
        self._compare([(one, one.external) for one in monitors], Kind.SUCCESS_RATE, Kind.FAILURE_PERCENTAGE)
        self._compare([(one, one.local) for one in monitors], Kind.LOCAL_SUCCESS_RATE, Kind.LOCAL_FAILURE_PERCENTAGE)
        for monitor in monitors:
            self._look_at_backoff(monitor)

    def _look_at_ejection(self, monitor: HostMonitor) -> None:
        config = self._config
        if not monitor.host.flags & HealthFlag.FAILED_OUTLIER_CHECK:
            return
        due = min(config.base_ejection_time * monitor.backoff, config.max_ejection_time) + monitor.jitter
        if clock.now - monitor.ejected_at >= due:
            self._uneject(monitor)

    def _look_at_backoff(self, monitor: HostMonitor) -> None:
        """Each interval in which a host that was back has stayed makes its next ejection shorter."""
        stays = monitor.returned_at and not monitor.host.flags & HealthFlag.FAILED_OUTLIER_CHECK
        if stays and clock.now - monitor.returned_at >= self._config.interval:
            monitor.backoff = max(0, monitor.backoff - 1)

    def _compare(self, tallies: list[tuple[HostMonitor, Tally]], by_rate: Kind, by_failures: Kind) -> None:
        """Hosts with enough requests against each other, and each against a fixed share of failures."""
        config = self._config
        judged: list[tuple[HostMonitor, float]] = []
        by_share: list[tuple[HostMonitor, float]] = []
        few = (
            len(tallies) < config.success_rate_minimum_hosts and len(tallies) < config.failure_percentage_minimum_hosts
        )
        for monitor, tally in tallies:
            total, good = tally.total, tally.good
            tally.total = tally.good = 0
            tally.rate = -1.0
            if few or not total or monitor.host.flags & HealthFlag.FAILED_OUTLIER_CHECK:
                continue
            rate = 100.0 * good / total
            if total >= min(config.success_rate_request_volume, config.failure_percentage_request_volume):
                tally.rate = rate
            if total >= config.success_rate_request_volume:
                judged.append((monitor, rate))
            if total >= config.failure_percentage_request_volume:
                by_share.append((monitor, rate))
        if judged and len(judged) >= config.success_rate_minimum_hosts:
            mean, least = _threshold([rate for _, rate in judged], config.success_rate_stdev_factor / 1000.0)
            for monitor, rate in judged:
                if rate < least:
                    self._stats.ejections_success_rate.value += 1
                    self._detected(by_rate)
                    self._eject(monitor, by_rate, (rate, mean, least))
        if by_share and len(by_share) >= config.failure_percentage_minimum_hosts:
            for monitor, rate in by_share:
                if 100.0 - rate >= config.failure_percentage_threshold:
                    self._detected(by_failures)
                    self._eject(monitor, by_failures, (rate,))

    def _detected(self, kind: Kind) -> None:
        getattr(self._stats, f"ejections_detected_{kind.value}").value += 1

    def _eject(self, monitor: HostMonitor, kind: Kind, rates: tuple[float, ...] = (), trace_id: str = "") -> None:
        config, stats, host = self._config, self._stats, monitor.host
        share = 100.0 * (self._active + 1) / max(1, len(self._monitors))
        if share > min(100, config.max_ejection_percent) and not (config.always_eject_one_host and not self._active):
            stats.ejections_overflow.value += 1
            return
        if kind in (Kind.CONSECUTIVE_5XX, Kind.SUCCESS_RATE):
            stats.ejections_total.value += 1
        away = int(clock.now - monitor.returned_at) if monitor.returned_at else None
        if self._rng.random() * 100 >= getattr(config, _ENFORCING[kind]):
            self._log.ejected(host, Ejection(_LOGGED[kind], monitor.ejections, away, False, rates))
            return
        if host.flags & HealthFlag.FAILED_OUTLIER_CHECK:
            return
        stats.ejections_enforced_total.value += 1
        getattr(stats, f"ejections_enforced_{kind.value}").value += 1
        monitor.ejected_at = clock.now
        monitor.jitter = config.max_ejection_time_jitter * self._rng.random()
        if monitor.backoff * config.base_ejection_time < config.max_ejection_time + config.base_ejection_time:
            monitor.backoff += 1
        monitor.ejections += 1
        monitor.ours = True
        self._log.ejected(host, Ejection(_LOGGED[kind], monitor.ejections, away, True, rates, trace_id))
        self._take_out(monitor)
        self._tell(Topic.EJECTED, host, monitor.told())

    def _take_out(self, monitor: HostMonitor) -> None:
        self._count_active(1)
        if monitor.host.mark(HealthFlag.FAILED_OUTLIER_CHECK, on=True):
            self._on_change()

    def _uneject(self, monitor: HostMonitor) -> None:
        self._count_active(-1)
        monitor.forget()
        monitor.returned_at = clock.now
        if monitor.ours:
            monitor.ours = False
            self._log.returned(monitor.host, monitor.ejections, int(clock.now - monitor.ejected_at))
            self._tell(Topic.RETURNED, monitor.host, [])
        if monitor.host.mark(HealthFlag.FAILED_OUTLIER_CHECK, on=False):
            self._on_change()

    def _count_active(self, change: int) -> None:
        self._active += change
        self._stats.ejections_active.value = self._active


def _threshold(rates: list[float], factor: float) -> tuple[float, float]:
    """The mean, and so many standard deviations below it."""
    mean = sum(rates) / len(rates)
    variance = sum((rate - mean) ** 2 for rate in rates) / len(rates)
    return mean, float(mean - factor * variance**0.5)
