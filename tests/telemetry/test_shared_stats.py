"""Writers in one process or several, readers beside them: what is merged is what was counted, whatever happens."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter as Bag
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pyproxy.telemetry.metrics import MirroredCounter, MirroredGauge, StatsStore
from pyproxy.telemetry.shared_reader import AreaReader, StatsReader
from pyproxy.telemetry.shared_stats import AREA_BYTES, EPOCH, SEQUENCE, StatsArea
from tests.telemetry.forked import fork, join, running

SMALL = 256 * 1024


def read(*areas: StatsArea) -> StatsReader:
    return StatsReader(areas)


class Workers(RuleBasedStateMachine):
    """Three workers that count, set, record, remove scopes, die and come back; a reader that sees it all."""

    worker = st.integers(0, 2)
    scope = st.sampled_from(["cluster.a", "cluster.a.b", "http.x"])
    name = st.sampled_from(["total", "rq.total"])

    def __init__(self) -> None:
        super().__init__()
        self.areas = [StatsArea(str(number), SMALL) for number in range(3)]
        self.stores = [StatsStore(area) for area in self.areas]
        self.reader = StatsReader(self.areas)
        self.counters: list[Bag[str]] = [Bag() for _ in self.areas]
        self.gauges: list[dict[str, int]] = [{} for _ in self.areas]
        self.samples: list[Bag[tuple[str, int]]] = [Bag() for _ in self.areas]

    @rule(worker=worker, scope=scope, name=name, more=st.integers(1, 5))
    def count(self, worker: int, scope: str, name: str, more: int) -> None:
        self.stores[worker].scope(scope).counter(name).value += more
        self.counters[worker][f"{scope}.{name}"] += more

    @rule(worker=worker, scope=scope, value=st.integers(0, 9))
    def set(self, worker: int, scope: str, value: int) -> None:
        self.stores[worker].scope(scope).gauge("active").value = value
        self.gauges[worker][f"{scope}.active"] = value

    @rule(worker=worker, scope=scope, value=st.integers(0, 99))
    def record(self, worker: int, scope: str, value: int) -> None:
        self.stores[worker].scope(scope).histogram("time").record(value)
        self.samples[worker][f"{scope}.time", value] += 1

    @rule(worker=worker, scope=scope)
    def remove(self, worker: int, scope: str) -> None:
        self.stores[worker].remove(scope)
        for names in (self.counters[worker], self.gauges[worker]):
            for name in [one for one in names if one.rpartition(".")[0] in (scope, f"{scope}.rq")]:
                del names[name]
        for key in [one for one in self.samples[worker] if one[0] == f"{scope}.time"]:
            del self.samples[worker][key]

    @rule(worker=worker)
    def die_and_come_back(self, worker: int) -> None:
        self.stores[worker].flush()
        self.areas[worker].bury()
        self.stores[worker] = StatsStore(self.areas[worker])
        self.gauges[worker] = {}

    @invariant()
    def the_reader_sees_the_sum(self) -> None:
        for store in self.stores:
            store.flush()
        snapshot = self.reader.snapshot(unused=False)
        assert {name: value for name, value in snapshot.counters.items() if value} == sum(self.counters, Bag())
        gauges: Bag[str] = Bag()
        for one in self.gauges:
            gauges.update(one)
        assert snapshot.gauges == dict(gauges)
        bins = {(name, number): count for name, held in snapshot.histograms.items() for number, count in held.items()}
        assert bins == dict(sum(self.samples, Bag()))


TestWorkers = Workers.TestCase
TestWorkers.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


def test_a_reader_beside_a_writer_never_sees_half_a_flush() -> None:
    area = StatsArea("wide", 16 * 1024 * 1024)

    def write() -> None:
        store = StatsStore(area)
        first = store.counter("first")
        # Far from each other, so that there is a while between the writing of one and of the other.
        for number in range(20_000):
            store.counter(f"between.{number}")
        last = store.counter("last")
        for _ in range(1_000_000):
            first.value += 1
            last.value += 1
            store.flush()
            time.sleep(0.001)  # without a pause between updates a reader might never find one

    reader = AreaReader(area)
    seen = [0]
    with running(write):
        deadline = time.monotonic() + 60
        while seen[-1] < 200 and time.monotonic() < deadline:
            reader.refresh()
            counts = {one.name: one.value for one in reader.inherited() if one.name in ("first", "last")}
            if counts:
                assert counts["first"] == counts["last"]
                seen.append(counts["first"])
    assert seen == sorted(seen)
    assert seen[-1] >= 200


def test_a_reader_beside_a_writer_that_begins_anew_sees_nothing_go_backwards() -> None:
    area = StatsArea("busy", SMALL)

    def write() -> None:
        store = StatsStore(area)
        first, last = store.counter("first"), store.counter("last")
        for turn in range(1_000_000):
            first.value += 1
            # Scopes that come and go: now and then all is written anew.
            store.scope(f"cluster.{turn}").counter("total").value += 1
            store.remove(f"cluster.{turn - 3}")
            last.value += 1
            store.flush()
            # A thousand times as often as in service, yet with room for a reader in between.
            time.sleep(0.0003)

    reader = StatsReader((area,))
    seen = [0]
    with running(write):
        deadline = time.monotonic() + 60
        while seen[-1] < 1500 and time.monotonic() < deadline:
            counters = reader.snapshot().counters
            if counters:
                assert counters["first"] == counters["last"]
                assert len(counters) <= 5
                seen.append(counters["first"])
    assert seen == sorted(seen)
    assert seen[-1] >= 1500
    assert area.words[EPOCH] > 1


def test_counters_of_a_killed_worker_stay_and_its_successor_goes_on_from_them() -> None:
    area, other = StatsArea("0", SMALL), StatsArea("1", SMALL)

    def work() -> None:
        store = StatsStore(area)
        store.counter("http.in.total").value += 7
        store.gauge("http.in.active").value = 3
        store.histogram("http.in.time").record(12)
        store.text("http.in.note").value = "hello"
        store.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    assert join(fork(work)) == -signal.SIGKILL
    StatsStore(other).flush()
    reader = read(area, other)
    assert reader.snapshot().gauges == {"http.in.active": 3}
    area.bury()
    snapshot = reader.snapshot()
    assert (snapshot.counters, snapshot.gauges, snapshot.texts) == ({"http.in.total": 7}, {}, {})
    assert snapshot.histograms == {"http.in.time": {12: 1}}

    successor = StatsStore(area)
    assert reader.snapshot().counters == {"http.in.total": 7}
    successor.counter("http.in.total").value += 1
    successor.histogram("http.in.time").record(12)
    successor.flush()
    snapshot = reader.snapshot()
    assert snapshot.counters == {"http.in.total": 8}
    assert snapshot.histograms == {"http.in.time": {12: 2}}


def test_a_worker_that_dies_in_the_middle_of_a_flush_loses_only_that_flush() -> None:
    area = StatsArea("0", SMALL)
    reader = read(area)
    store = StatsStore(area)
    store.counter("total").value += 5
    store.flush()
    assert reader.snapshot().counters == {"total": 5}
    area.words[SEQUENCE] += 1
    assert reader.snapshot().counters == {"total": 5}
    StatsStore(area).flush()
    assert reader.snapshot().counters == {"total": 5}
    assert read(area).snapshot().counters == {"total": 5}


def test_what_all_workers_see_alike_is_shown_once() -> None:
    areas = [StatsArea(str(number), SMALL) for number in range(3)]
    for number, area in enumerate(areas):
        store = StatsStore(area)
        store.scope("cluster.a").make(MirroredGauge, "membership_total").value = 2
        store.scope("cluster.a").make(MirroredGauge, "rq_open").value = int(number == 1)
        store.scope("cluster.a").make(MirroredCounter, "membership_change").value += 1 + (number == 2)
        store.flush()
    snapshot = read(*areas).snapshot()
    assert snapshot.gauges == {"cluster.a.membership_total": 2, "cluster.a.rq_open": 1}
    assert snapshot.counters == {"cluster.a.membership_change": 2}


def test_a_gauge_is_used_once_it_was_set_even_to_zero() -> None:
    area = StatsArea("0", SMALL)
    store = StatsStore(area)
    reader = read(area)
    never, later = store.gauge("never"), store.gauge("later")
    store.flush()
    assert reader.snapshot().used == set()
    later.value = 0
    store.flush()
    store.counter("counted").value += 1
    store.flush()
    assert reader.snapshot().used == {"later", "counted"}
    assert never.value == 0
    # Written anew, it is still used.
    for number in range(3000):
        store.scope(f"s{number}").counter("c")
        store.flush()
        store.remove(f"s{number}")
    assert reader.snapshot().used == {"later", "counted"}


def test_unused_names_of_a_block_are_shown_as_zeros_when_asked_for() -> None:
    area = StatsArea("0", SMALL)
    store = StatsStore(area)
    store.scope("cluster.a", "3 total\n4 active\n7 time\n").counter("total").value += 1
    store.flush()
    with_unused, used = read(area).snapshot(), read(area).snapshot(unused=False)
    assert (with_unused.counters, with_unused.gauges) == ({"cluster.a.total": 1}, {"cluster.a.active": 0})
    assert with_unused.histograms == {"cluster.a.time": {}}
    assert (used.counters, used.gauges, used.histograms) == ({"cluster.a.total": 1}, {}, {})


def test_texts_are_shown_as_they_are_now() -> None:
    area = StatsArea("0", SMALL)
    store = StatsStore(area)
    reader = read(area)
    store.text("version").value = "v1"
    store.flush()
    store.text("version").value = "v2 \u00e4 \u2713"
    store.flush()
    assert reader.snapshot().texts == {"version": "v2 \u00e4 \u2713"}
    store.scope("x").text("gone").value = "t"
    store.flush()
    store.remove("x")
    store.flush()
    assert reader.snapshot().texts == {"version": "v2 \u00e4 \u2713"}


def test_years_of_clusters_that_come_and_go_do_not_fill_an_area(caplog: pytest.LogCaptureFixture) -> None:
    area = StatsArea("0", SMALL)
    store = StatsStore(area)
    reader = read(area)
    kept = store.scope("cluster.kept").counter("total")
    for number in range(20_000):
        scope = store.scope(f"cluster.{number}")
        scope.counter("total").value += 1
        scope.histogram("time").record(5)
        kept.value += 1
        if number % 7 == 0:
            store.flush()
        store.remove(f"cluster.{number}")
    store.flush()
    assert reader.snapshot().counters == {"cluster.kept.total": 20_000}
    assert reader.snapshot().histograms == {}
    assert not caplog.records


def test_a_full_area_keeps_what_it_has_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    area = StatsArea("0", SMALL)
    store = StatsStore(area)
    reader = read(area)
    first = store.counter("first")
    for number in range(20_000):
        store.scope("cluster.a").counter(f"quite_a_long_name_of_a_counter_{number}").value += 1
    store.flush()
    first.value += 1
    store.flush()
    assert reader.snapshot().counters["first"] == 1
    assert "is full" in caplog.text
    store.remove("cluster.a")
    store.scope("cluster.b").counter("total").value += 1
    store.flush()
    store.flush()
    assert reader.snapshot().counters == {"first": 1, "cluster.b.total": 1}


@pytest.mark.parametrize("wrong", [1 << 70, -(1 << 70), "seven", 1.5])
def test_one_bad_number_does_not_stop_the_others(wrong: object) -> None:
    area = StatsArea("0", SMALL)
    store = StatsStore(area)
    store.counter("good").value += 1
    store.gauge("bad").value = wrong  # type: ignore[assignment]
    store.flush()
    assert read(area).snapshot().counters == {"good": 1}


def test_an_untouched_area_costs_next_to_nothing() -> None:
    area = StatsArea("sparse-test")
    store = StatsStore(area)
    store.counter("one").value += 1
    store.flush()
    read(area).snapshot()
    assert AREA_BYTES >= 64 * 1024 * 1024
    assert _resident_kib("pyproxy-stats-sparse-test") < 256


def _resident_kib(name: str) -> int:
    found = 0
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            inside = name in line
        elif inside and line.startswith("Rss:"):
            found += int(line.split()[1])
    return found
