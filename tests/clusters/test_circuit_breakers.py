from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
