from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyproxy import clock
from pyproxy.clusters.host import HealthFlag, Host
from pyproxy.clusters.outlier_detection import HostMonitor, OutlierDetector
from pyproxy.clusters.outlier_log import OutlierLog
from pyproxy.clusters.peers import Topic
from pyproxy.config.outlier import OutlierConfig
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.telemetry.cluster_stats import ClusterStats
from pyproxy.telemetry.events import EventKind, EventOutbox
from pyproxy.telemetry.logs import AccessLogs
from pyproxy.telemetry.metrics import StatsStore
from tests.clusters.hosts import hosts
from tests.support.loop import ManualLoop


class Ward:
    """A detector with its hosts, and time that is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int = 10, **config: Any) -> None:
        self.loop = ManualLoop.ticking(monkeypatch)
        self.changes = 0
        self.stats = ClusterStats(StatsStore(), "c").outlier_detection
        self.config = OutlierConfig(**config)
        self.events = EventOutbox()
        self.values = RuntimeValues(({},))
        self.told: list[tuple[Topic, str, list[Any]]] = []
        log = OutlierLog("c", "", AccessLogs(self.loop), self.events)
        self.detector = OutlierDetector(
            self.config, self.stats, self.loop, random.Random(1), log, self.changed, self.tell, self.values
        )
        self.hosts = hosts([1] * count)
        self.detector.watch(self.hosts)

    def tell(self, topic: Topic, host: Host, values: list[Any]) -> None:
        self.told.append((topic, host.key, values))

    def changed(self) -> None:
        self.changes += 1

    @property
    def ejected(self) -> list[int]:
        return [n for n, host in enumerate(self.hosts) if host.flags & HealthFlag.FAILED_OUTLIER_CHECK]

    def answer(self, number: int, status: int, times: int = 1) -> None:
        monitor: HostMonitor = self.hosts[number].outlier
        for _ in range(times):
            monitor.put_status(status)

    def pass_time(self, seconds: float) -> None:
        self.loop.advance(seconds)


def test_a_host_comes_back_after_longer_and_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Ward(monkeypatch, interval=5.0, base_ejection_time=5.0)
    for times in (1, 2, 3):
        ward.answer(3, 500, 5)
        ward.pass_time(5.0 * times - 0.1)
        assert ward.ejected == [3]
        ward.pass_time(0.1)
        assert ward.ejected == []
        assert ward.hosts[3].since == clock.now


def test_good_intervals_shorten_the_next_ejection(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Ward(monkeypatch, interval=1.0, base_ejection_time=5.0)
    ward.answer(3, 500, 5)
    ward.pass_time(20.0)
    assert ward.ejected == []
    ward.answer(3, 500, 5)
    ward.pass_time(6.5)
    assert ward.ejected == []


def test_no_ejection_is_longer_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Ward(monkeypatch, interval=1.0, base_ejection_time=5.0, max_ejection_time=6.0)
    for _ in range(6):
        ward.answer(3, 500, 5)
        ward.pass_time(7.5)
        assert ward.ejected == []


def test_only_so_many_may_be_out(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Ward(monkeypatch, max_ejection_percent=25)
    for number in range(10):
        ward.answer(number, 500, 5)
    assert len(ward.ejected) == 2  # a third one would make it 30 %
    assert (ward.stats.ejections_overflow.value, ward.stats.ejections_active.value) == (8, 2)
    told = [(event.kind, event.fields["why"]) for event in ward.events.take()]
    assert told == [(EventKind.HOST_EJECTED, "CONSECUTIVE_5XX")] * 2


def test_who_stands_out_by_its_rate_is_ejected(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Ward(monkeypatch, interval=1.0, consecutive_5xx=10_000, consecutive_gateway_failure=10_000)
    for number in range(10):
        ward.answer(number, 200, 200)
    ward.answer(4, 500, 200)
    ward.pass_time(1.1)
    assert ward.ejected == [4]
    assert ward.hosts[0].outlier.external.rate == 100.0
    assert ward.stats.ejections_enforced_success_rate.value == 1


def test_a_few_requests_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Ward(monkeypatch, interval=1.0, consecutive_5xx=10_000)
    for number in range(10):
        ward.answer(number, 200, 40)
    ward.answer(4, 500, 9)
    ward.pass_time(1.1)
    assert ward.ejected == []


def test_who_fails_too_much_is_ejected(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Ward(
        monkeypatch, interval=1.0, consecutive_5xx=10_000, enforcing_failure_percentage=100, enforcing_success_rate=0
    )
    for number in range(10):
        ward.answer(number, 500 if number == 2 else 200, 60)
    ward.pass_time(1.1)
    assert ward.ejected == [2]
    assert ward.stats.ejections_enforced_failure_percentage.value == 1


def test_a_health_check_brings_a_host_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Ward(monkeypatch)
    ward.answer(1, 500, 5)
    ward.detector.recovered(ward.hosts[1])
    assert (ward.ejected, ward.changes) == ([], 2)


class Outliers(RuleBasedStateMachine):
    """Hosts come, go and fail in any order: the numbers hold."""

    @initialize(percent=st.integers(0, 100))
    def begin(self, percent: int) -> None:
        self.patch = pytest.MonkeyPatch()
        self.ward = Ward(self.patch, 4, interval=1.0, base_ejection_time=2.0, max_ejection_percent=percent)
        self.all: list[Host] = list(self.ward.hosts)

    @rule(which=st.integers(0, 9), status=st.sampled_from((200, 500, 503)), times=st.integers(1, 6))
    def answer(self, which: int, status: int, times: int) -> None:
        if self.all:
            for _ in range(times):
                outlier = self.all[which % len(self.all)].outlier
                outlier.put_status(status)

    @rule(keep=st.integers(0, 6))
    def change_hosts(self, keep: int) -> None:
        self.all = [*self.all[:keep], *hosts([1] * 2)]
        self.ward.detector.watch(self.all)

    @rule(which=st.integers(0, 9), topic=st.sampled_from((Topic.EJECTED, Topic.RETURNED)))
    def hear_another_worker(self, which: int, topic: Topic) -> None:
        if self.all:
            values = [clock.now, 1, 0.0, 1] if topic is Topic.EJECTED else []
            self.ward.detector.hear(self.all[which % len(self.all)], topic, values)

    @rule(seconds=st.sampled_from((0.5, 1.5, 9.0)))
    def wait(self, seconds: float) -> None:
        self.ward.pass_time(seconds)

    @invariant()
    def the_count_is_right(self) -> None:
        if not hasattr(self, "ward"):
            return
        out = sum(bool(host.flags & HealthFlag.FAILED_OUTLIER_CHECK) for host in self.all)
        assert self.ward.stats.ejections_active.value == out
        assert all(host.healthy is not bool(host.flags & HealthFlag.FAILED_OUTLIER_CHECK) for host in self.all)

    def teardown(self) -> None:
        if not hasattr(self, "ward"):
            return
        self.ward.pass_time(400.0)
        assert self.ward.stats.ejections_active.value == 0
        self.ward.detector.close()
        self.patch.undo()
        clock.tick()


TestOutliers = Outliers.TestCase
TestOutliers.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_an_ejection_tells_whose_request_was_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Ward(monkeypatch, consecutive_5xx=3, max_ejection_percent=100)
    refused = ProxyError(ResponseFlag.UPSTREAM_CONNECTION_FAILURE, Source.UPSTREAM, 503, "")
    for trace in ("one", "two", "three"):
        ward.hosts[0].outlier.put_status(500, trace)
        ward.hosts[1].outlier.put_error(refused, "x")
        ward.answer(2, 500)
    told = {event.subject: event.fields.get("trace_id") for event in ward.events.take()}
    assert told == {ward.hosts[0].address: "three", ward.hosts[1].address: "x", ward.hosts[2].address: None}


def test_what_another_worker_takes_out_is_out_here_too(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Ward(monkeypatch, interval=1.0, base_ejection_time=5.0, max_ejection_percent=20)
    ward.answer(3, 500, 5)
    ((topic, key, values),) = ward.told
    assert (topic, key) == (Topic.EJECTED, ward.hosts[3].key)
    there = Ward(monkeypatch, interval=1.0, base_ejection_time=5.0, max_ejection_percent=20)
    there.pass_time(1.0)
    values[0] = clock.now
    there.detector.hear(there.hosts[3], topic, values)
    there.detector.hear(there.hosts[3], topic, values)
    assert (there.ejected, there.changes, there.told, there.events.take()) == ([3], 1, [], [])
    assert (there.stats.ejections_active.value, there.stats.ejections_enforced_total.value) == (1, 0)

    there.answer(4, 500, 5)
    there.answer(5, 500, 5)
    assert there.ejected == [3, 4]  # as many as may be, of both
    there.detector.tell_all()
    assert [key for _, key, _ in there.told] == [there.hosts[number].key for number in (4, 3, 4)]
    there.detector.hear(there.hosts[3], Topic.RETURNED, [])
    assert there.ejected == [4]
    there.pass_time(5.0)
    assert there.ejected == []
    assert there.told[3:] == [(Topic.RETURNED, there.hosts[4].key, [])]


def test_the_runtime_goes_before_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Ward(monkeypatch, interval=5.0, base_ejection_time=5.0)
    ward.values.replace(
        0, {"outlier_detection": {"consecutive_5xx": 2, "interval_ms": 500, "base_ejection_time_ms": 700}}
    )
    ward.answer(3, 500, 2)
    assert ward.ejected == [3]
    ward.pass_time(1.1)
    assert ward.ejected == []
    ward.values.replace(0, {})
    ward.answer(4, 500, 4)
    assert ward.ejected == []
    ward.answer(4, 500)
    assert ward.ejected == [4]
    ward.pass_time(4.9)
    assert ward.ejected == [4]
    ward.detector.close()
    ward.values.replace(0, {"outlier_detection": {"interval_ms": 1}})
    assert ward.loop.timers == 0
