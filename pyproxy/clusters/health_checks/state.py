"""What the results of health checks make of one host (Envoy: HealthCheckerImplBase). Pure: results in, verdicts out."""

from __future__ import annotations

from enum import Enum, auto

from pyproxy.config.health_check import HealthCheckConfig


class Outcome(Enum):
    """How one check ended."""

    GOOD = auto()
    DEGRADED = auto()
    BAD = auto()
    """The host says that it is not well: believed at once."""
    RETRIABLE = auto()
    """It says so with a status that may be chance."""
    UNREACHED = auto()
    TIMED_OUT = auto()
    PASSIVE = auto()
    """Not a check: an answer to a request has said that the host is not to be used (Envoy:
    x-envoy-immediate-health-check-fail). Believed at once, too."""

    @property
    def good(self) -> bool:
        return self is Outcome.GOOD or self is Outcome.DEGRADED

    @property
    def answered(self) -> bool:
        """There was an answer, with a status."""
        return self in (Outcome.GOOD, Outcome.DEGRADED, Outcome.BAD, Outcome.RETRIABLE)


_CERTAIN = (Outcome.BAD, Outcome.PASSIVE)


class Step(Enum):
    """What a result has led to."""

    SAME = auto()
    CHANGED = auto()
    PENDING = auto()
    """One more of these, or a few, and the host changes sides."""


class HealthState:
    """A host begins as failed; its first check alone decides."""

    __slots__ = ("_bad", "_config", "_good", "degraded", "failed", "first")

    def __init__(self, config: HealthCheckConfig) -> None:
        self._config = config
        self._good = self._bad = 0
        self.failed = True
        self.degraded = False
        self.first = True

    def told(self) -> list[bool | int]:
        """For other workers; `adopt` takes it over."""
        return [self.failed, self.degraded, self._good, self._bad]

    def adopt(self, failed: bool, degraded: bool, good: int, bad: int) -> None:
        """What another worker has found."""
        self.failed, self.degraded, self._good, self._bad = failed, degraded, good, bad
        self.first = False

    def take(self, outcome: Outcome) -> Step:
        step = self._passed(outcome) if outcome.good else self._failed(outcome)
        self.first = False
        return step

    def _passed(self, outcome: Outcome) -> Step:
        self._bad = 0
        before, self.degraded = self.degraded, outcome is Outcome.DEGRADED
        changed = before is not self.degraded
        if self.failed:
            self._good += 1
            if not self.first and self._good < self._config.healthy_threshold:
                return Step.PENDING
            self.failed = False
            changed = True
        return Step.CHANGED if changed else Step.SAME

    def _failed(self, outcome: Outcome) -> Step:
        self._good = 0
        if self.failed:
            return Step.SAME
        self._bad += 1
        if outcome not in _CERTAIN and self._bad < self._config.unhealthy_threshold:
            return Step.PENDING
        self.failed = True
        return Step.CHANGED

    def next_interval(self, step: Step, *, traffic: bool) -> float:
        """Seconds until the next check, before jitter."""
        config = self._config
        if not traffic:
            return config.no_traffic_interval if self.failed else config.no_traffic_healthy_interval
        pending = step is Step.PENDING
        if self.failed:
            return config.unhealthy_edge_interval if pending else config.unhealthy_interval
        return config.healthy_edge_interval if pending else config.interval
