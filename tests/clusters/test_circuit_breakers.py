from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyproxy.clusters.circuit_breakers import (
    CLOSED_AFTER,
    BreakerGauges,
    BreakerWatch,
    ResourceLimits,
    apply_runtime,
)
from pyproxy.config.cluster import Thresholds
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.telemetry.cluster_stats import ClusterStats
from pyproxy.telemetry.events import EventKind, EventOutbox
from pyproxy.telemetry.metrics import StatsStore


def watching(limits: ResourceLimits, events: EventOutbox | None = None) -> BreakerWatch:
    return BreakerWatch("c", "default", limits, events or EventOutbox())


KINDS = ["connection", "pending", "request", "retry"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_is_reached_and_left(kind: str) -> None:
    limits = ResourceLimits(Thresholds(2, 2, 2, 2))
    acquire, release = getattr(limits, f"try_acquire_{kind}"), getattr(limits, f"release_{kind}")
    assert [acquire(), acquire(), acquire()] == [True, True, False]
    release()
    assert [acquire(), acquire()] == [True, False]


def test_the_kinds_do_not_share() -> None:
    limits = ResourceLimits(Thresholds(1, 1, 1, 1))
    assert all(getattr(limits, f"try_acquire_{kind}")() for kind in KINDS)
    assert repr(limits) == "<ResourceLimits connections 1/1, pending 1/1, requests 1/1, retries 1/1>"


def test_a_limit_of_zero_lets_nothing_through() -> None:
    assert not ResourceLimits(Thresholds(max_requests=0)).try_acquire_request()


@given(limit=st.integers(0, 10_000), workers=st.integers(1, 64))
def test_workers_together_have_the_limit_and_less_than_one_each_more(limit: int, workers: int) -> None:
    total = workers * ResourceLimits(Thresholds(max_requests=limit), workers).max_requests
    assert limit <= total < limit + workers


def test_the_runtime_overrides_one_limit_of_one_cluster() -> None:
    values = RuntimeValues(({"circuit_breakers": {"a": {"default": {"max_requests": 7}}}},))
    assert apply_runtime(Thresholds(), "a", "default", values) == Thresholds(max_requests=7)
    assert apply_runtime(Thresholds(), "a", "high", values) == Thresholds()
    assert apply_runtime(Thresholds(), "b", "default", values) == Thresholds()


def test_gauges_say_open_while_a_limit_is_reached() -> None:
    stats = ClusterStats(StatsStore(), "c").circuit_breakers_default
    limits = ResourceLimits(Thresholds(1, 1, 1, 1))
    gauges = BreakerGauges(stats, limits, watching(limits), track_remaining=False)
    names = ("cx_open", "rq_pending_open", "rq_open", "rq_retry_open")
    for kind, name in zip(KINDS, names, strict=True):
        assert getattr(limits, f"try_acquire_{kind}")()
        gauges.update()
        assert [n for n in names if getattr(stats, n).value] == [name]
        getattr(limits, f"release_{kind}")()
    gauges.update()
    assert not any(getattr(stats, n).value for n in names)


def test_what_remains_is_told_if_asked() -> None:
    store = StatsStore()
    limits = ResourceLimits(Thresholds(10, 20, 30, 40))
    gauges = BreakerGauges(
        ClusterStats(store, "c").circuit_breakers_high, limits, watching(limits), track_remaining=True
    )
    limits.requests = 4
    gauges.update()
    prefix = "cluster.c.circuit_breakers.high"
    assert store.gauge(f"{prefix}.remaining_cx").value == 10
    assert store.gauge(f"{prefix}.remaining_pending").value == 20
    assert store.gauge(f"{prefix}.remaining_rq").value == 26
    assert store.gauge(f"{prefix}.remaining_retries").value == 40
    limits.requests = 31
    gauges.update()
    assert store.gauge(f"{prefix}.remaining_rq").value == 0


def test_a_breaker_at_its_edge_is_told_of_once() -> None:
    limits, events = ResourceLimits(Thresholds(9, 9, 1, 9)), EventOutbox()
    watch = watching(limits, events)
    gauges = BreakerGauges(ClusterStats(StatsStore(), "c").circuit_breakers_high, limits, watch, track_remaining=False)
    for _ in range(3):
        assert limits.try_acquire_request()
        assert not limits.try_acquire_request()
        limits.release_request()  # so that a look finds nothing in use
        gauges.update()
    assert [(one.kind, one.fields["resource"]) for one in events.take()] == [(EventKind.BREAKER_OPENED, "requests")]
    for _ in range(CLOSED_AFTER - 1):
        gauges.update()
    assert events.take() == []
    gauges.update()
    assert [one.kind for one in events.take()] == [EventKind.BREAKER_CLOSED]
    assert not watch.open
    gauges.update()
    assert events.take() == []


OF_KIND = {"connection": "connections", "pending": "pending", "request": "requests", "retry": "retries"}
LIMITS = st.builds(
    Thresholds,
    max_connections=st.integers(0, 5),
    max_pending_requests=st.integers(0, 5),
    max_requests=st.integers(0, 5),
    max_retries=st.integers(0, 5),
    retry_budget=st.none() | st.tuples(st.sampled_from([0.0, 20.0, 50.0, 100.0]), st.integers(0, 3)),
    own_retry_limits=st.booleans(),
)


class BreakerMachine(RuleBasedStateMachine):
    """Things that are acquired and given back while the limits change, beside a count of what is held."""

    @initialize(thresholds=LIMITS, workers=st.integers(1, 3))
    def begin(self, thresholds: Thresholds, workers: int) -> None:
        self.workers = workers
        self.thresholds = thresholds
        self.limits = ResourceLimits(thresholds, workers)
        self.held = dict.fromkeys(KINDS, 0)
        self.events = EventOutbox()
        self.stats = ClusterStats(StatsStore(), "c").circuit_breakers_default
        watch = watching(self.limits, self.events)
        self.gauges = BreakerGauges(self.stats, self.limits, watch, track_remaining=True)
        self.told: list[EventKind] = []

    def most(self, kind: str) -> int:
        """What this worker may have of a kind, worked out anew."""
        one = self.thresholds
        budget, least = one.retry_budget, one.max_retries
        if budget is None and one.own_retry_limits:
            budget = (20.0, one.max_retries)
        if one.retry_budget is not None:
            least = one.retry_budget[1]
        shared = {
            "connection": one.max_connections,
            "pending": one.max_pending_requests,
            "request": one.max_requests,
            "retry": least,
        }[kind]
        share = -(-shared // self.workers)
        if kind == "retry" and budget is not None:
            return max(share, int(budget[0] * self.held["request"] / 100))
        return share

    @rule(kind=st.sampled_from(KINDS))
    def acquire(self, kind: str) -> None:
        free = self.held[kind] < self.most(kind)
        assert getattr(self.limits, f"try_acquire_{kind}")() is free
        self.held[kind] += free

    @rule(kind=st.sampled_from(KINDS))
    def give_back(self, kind: str) -> None:
        if self.held[kind]:
            getattr(self.limits, f"release_{kind}")()
            self.held[kind] -= 1

    @rule(thresholds=LIMITS)
    def change(self, thresholds: Thresholds) -> None:
        """What is held stays, be it more than may be had now."""
        self.thresholds = thresholds
        self.limits.limit(thresholds, self.workers)

    @rule()
    def look(self) -> None:
        self.gauges.update()
        self.told += [one.kind for one in self.events.take()]
        for kind, name in zip(KINDS, ("cx", "rq_pending", "rq", "rq_retry"), strict=True):
            assert getattr(self.stats, f"{name}_open").value == int(0 < self.held[kind] >= self.most(kind))
        remaining = ("remaining_cx", "remaining_pending", "remaining_rq", "remaining_retries")
        for kind, name in zip(KINDS, remaining, strict=True):
            assert getattr(self.stats, name).value == max(0, self.most(kind) - self.held[kind])

    @precondition(lambda self: hasattr(self, "held"))
    @invariant()
    def what_is_counted_is_what_is_held(self) -> None:
        assert {kind: getattr(self.limits, OF_KIND[kind]) for kind in KINDS} == self.held
        closed = self.told.count(EventKind.BREAKER_CLOSED)
        assert 0 <= self.told.count(EventKind.BREAKER_OPENED) - closed <= len(KINDS)


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
