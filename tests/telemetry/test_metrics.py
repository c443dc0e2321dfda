from __future__ import annotations

import logging

import pytest

from pyproxy.telemetry.metrics import Counter, Gauge, Histogram, StatsStore


def test_a_name_is_one_stat() -> None:
    store = StatsStore()
    assert store.counter("a.b") is store.counter("a.b")
    assert store.gauge("a.c") is not store.counter("a.b")
    with pytest.raises(TypeError, match=r"a\.b is a Counter, not a Gauge"):
        store.gauge("a.b")


def test_a_full_name_finds_the_scope_that_it_lies_in() -> None:
    store = StatsStore()
    scope = store.scope("cluster.a.b")
    store.scope("cluster.a")
    assert store.counter("cluster.a.b.rq") is scope.counter("rq")
    assert store.scope("cluster.a").stats == {}
    assert scope.scope("external") is store.scope("cluster.a.b.external")
    assert store.root.scope("http") is store.scope("http")


def test_removing_a_scope_takes_nothing_from_a_longer_name() -> None:
    store = StatsStore()
    store.counter("cluster.a")
    short, long = store.scope("cluster.a").counter("rq"), store.scope("cluster.a.b").counter("rq")
    store.remove("cluster.a.")
    assert store.scope("cluster.a").counter("rq") is not short
    assert store.scope("cluster.a.b").counter("rq") is long
    store.remove("cluster.unknown")


def test_a_tally_is_one_addition_for_many_counters() -> None:
    store = StatsStore()
    scope = store.scope("cluster.a")
    total, ok = scope.counter("completed"), scope.counter("2xx")
    tally = scope.tally(total, ok)
    tally.value += 2
    assert total.value == 0
    store.flush()
    tally.value += 1
    store.flush()
    store.flush()
    assert (total.value, ok.value) == (3, 3)


def test_a_tally_gives_what_it_has_before_its_scope_goes() -> None:
    store = StatsStore()
    total = store.counter("http.in.completed")
    tally = store.scope("listener.x").tally(total)
    tally.value += 5
    store.remove("listener.x")
    assert total.value == 5


def test_a_histogram_counts_for_its_parents() -> None:
    store = StatsStore()
    parent, child = store.histogram("rq_time"), store.histogram("external.rq_time")
    child.parents = (parent,)
    for value in (3, 3, 250):
        child.record(value)
    parent.record(3)
    store.flush()
    assert child.counts() == {3: 2, 115: 1}
    assert parent.counts() == {3: 3, 115: 1}


def test_callbacks_run_before_each_flush_until_they_are_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    store = StatsStore()
    gauge = store.gauge("open")
    calls = []

    def broken() -> None:
        raise ValueError("mistake")

    store.on_flush(broken)
    cancel = store.on_flush(lambda: calls.append(gauge.value))
    with caplog.at_level(logging.ERROR):
        store.flush()
    cancel()
    cancel()
    store.flush()
    assert calls == [0]
    assert "an on_flush callback failed" in caplog.text


def test_what_is_printed_of_a_stat() -> None:
    counter, gauge, histogram = Counter("a"), Gauge("b"), Histogram("c")
    counter.value += 1
    gauge.value += 2
    histogram.record(1)
    assert [repr(one) for one in (counter, gauge, histogram)] == ["<Counter a=1>", "<Gauge b=2>", "<Histogram c 1>"]
