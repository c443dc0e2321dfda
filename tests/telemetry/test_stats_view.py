from __future__ import annotations

from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.shared_reader import StatsReader
from pyproxy.telemetry.shared_stats import StatsArea
from pyproxy.telemetry.stats_view import StatsView


def make() -> tuple[StatsStore, StatsView]:
    area = StatsArea("view", 256 * 1024)
    return StatsStore(area), StatsView(StatsReader((area,)))


def test_after_a_reset_counters_show_what_came_since() -> None:
    store, view = make()
    counter, gauge = store.counter("c"), store.gauge("g")
    counter.value = gauge.value = 5
    store.histogram("h").record(1)
    store.flush()
    view.reset_counters()
    snapshot = view.snapshot(unused=False)
    assert (snapshot.counters, snapshot.gauges, snapshot.histograms) == ({"c": 0}, {"g": 5}, {"h": {1: 1}})
    assert snapshot.used == {"c", "g"}
    counter.value += 2
    store.counter("new").value += 1
    store.flush()
    assert view.snapshot(unused=False).counters == {"c": 2, "new": 1}


def test_a_counter_that_began_anew_after_the_reset_is_shown_as_it_is() -> None:
    store, view = make()
    store.scope("cluster.a").counter("c").value = 5
    store.flush()
    view.reset_counters()
    store.remove("cluster.a")
    store.flush()
    assert view.snapshot(unused=False).counters == {}
    store.scope("cluster.a").counter("c").value = 3
    store.flush()
    assert view.snapshot(unused=False).counters == {"cluster.a.c": 3}


def test_an_interval_is_what_histograms_got_between_two_ticks() -> None:
    store, view = make()
    histogram = store.histogram("h")
    histogram.record(1)
    store.flush()
    assert view.snapshot(unused=False).intervals == {}
    view.tick()
    histogram.record(1)
    histogram.record(2)
    store.flush()
    assert view.snapshot(unused=False).intervals == {"h": {1: 1}}
    view.tick()
    assert view.snapshot(unused=False).intervals == {"h": {1: 1, 2: 1}}
    assert view.snapshot(unused=False).histograms == {"h": {1: 2, 2: 1}}
    view.tick()
    assert view.snapshot(unused=False).intervals == {}
