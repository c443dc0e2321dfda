from __future__ import annotations

import random
from collections import Counter

import pytest

from pyproxy import clock
from pyproxy.clusters.host import Host
from pyproxy.clusters.load_balancers.client_weighted import ClientSideWeighted, median, weight_of
from pyproxy.clusters.orca_report import METRICS, LoadReport
from pyproxy.config.cluster import SlowStartConfig
from pyproxy.config.load_policy import OrcaConfig
from pyproxy.http.stream_info import UpstreamInfo
from tests.clusters.hosts import REQUEST, hosts
from tests.support.loop import ManualLoop

CONFIG = OrcaConfig(blackout=10.0, expiration=60.0, update_period=1.0)


def report(host: Host, rate: float, used: float) -> None:
    text = b"TEXT rps_fractional=%g,application_utilization=%g" % (rate, used)
    host.load.answered(UpstreamInfo(), {METRICS: text})


def test_hosts_get_what_they_can_take(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = ManualLoop.ticking(monkeypatch)
    three = hosts([1, 1, 1])
    balancer = ClientSideWeighted(three, random.Random(1), CONFIG)

    def shares() -> list[int]:
        found = Counter(balancer.choose(REQUEST).key for _ in range(600))
        return [round(found[host.key], -1) for host in three]

    def tell() -> None:
        report(three[0], 100, 0.5)
        report(three[1], 100, 0.25)
        three[2].load.answered(UpstreamInfo(), {METRICS: b"TEXT nonsense=1"})

    assert shares() == [200, 200, 200]
    tell()
    loop.advance(9.0)
    tell()
    assert shares() == [200, 200, 200]  # they have not reported for long enough
    loop.advance(1.5)
    tell()
    assert shares() == [130, 270, 200]  # 200 : 400 : the median
    assert [host.load.weight for host in three] == [200, 400, 300]
    loop.advance(61.0)
    assert shares() == [200, 200, 200]
    report(three[0], 100, 0.5)
    loop.advance(1.0)
    assert three[0].load.current() == 0  # the blackout begins again


def test_a_new_host_starts_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = ManualLoop.ticking(monkeypatch)
    old, new = hosts([1, 1])
    loop.advance(100.0)
    new.since = clock.now
    config, slow = OrcaConfig(update_period=1.0), SlowStartConfig(100.0, 1.0, 10.0)
    balancer = ClientSideWeighted((old, new), random.Random(1), config, slow)

    def share() -> float:
        return sum(balancer.choose(REQUEST) is new for _ in range(1000)) / 1000

    assert share() == pytest.approx(0.1 / 1.1, abs=0.01)
    loop.advance(50.0)
    assert share() == pytest.approx(0.5 / 1.5, abs=0.01)
    loop.advance(50.0)
    assert share() == pytest.approx(0.5, abs=0.01)


def test_trailers_may_have_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    ManualLoop.ticking(monkeypatch)
    (host,) = hosts([1])
    ClientSideWeighted((host,), random.Random(1), OrcaConfig(blackout=0.0))
    host.load.trailers([(b"grpc-status", b"0"), (METRICS, b"TEXT rps_fractional=10,cpu_utilization=0.5")])
    assert host.load.current() == 20


def test_new_weights_wait_for_the_end_of_the_period(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = ManualLoop.ticking(monkeypatch)
    two = hosts([1, 1])
    balancer = ClientSideWeighted(two, random.Random(1), OrcaConfig(blackout=0.0, update_period=5.0))
    report(two[0], 10, 0.5)
    report(two[1], 30, 0.5)
    loop.advance(4.0)
    balancer.choose(REQUEST)
    assert two[1].load.weight == 1
    loop.advance(1.0)
    balancer.choose(REQUEST)
    assert two[1].load.weight == 60
    assert two[0].load.weight == 20


@pytest.mark.parametrize(
    ("report", "weight"),
    [
        (LoadReport(), 0),
        (LoadReport(rps_fractional=10), 0),
        (LoadReport(rps_fractional=10, cpu_utilization=0.5), 20),
        (LoadReport(rps_fractional=10, cpu_utilization=0.5, application_utilization=0.25), 40),
        (LoadReport(rps_fractional=10, cpu_utilization=0.5, named_metrics={"m": 0.1}), 100),
        (LoadReport(rps_fractional=10, application_utilization=0.5, named_metrics={"m": 0.1}), 100),
        (LoadReport(rps_fractional=10, cpu_utilization=0.5, eps=5), 10),
        (LoadReport(rps_fractional=1e30, cpu_utilization=1e-9), (1 << 32) - 1),
    ],
)
def test_the_weight_of_a_report(report: LoadReport, weight: int) -> None:
    assert weight_of(report, OrcaConfig(error_penalty=1.0, metrics=("named_metrics.m",))) == weight


def test_the_median() -> None:
    assert [median([]), median([5]), median([1, 9]), median([9, 1, 4])] == [1, 5, 5, 4]
