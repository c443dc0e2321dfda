from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.clusters.load_balancers.peak_ewma import EwmaLoad, PeakEwma
from pyproxy.config.load_policy import EwmaConfig
from tests.clusters.hosts import REQUEST, hosts
from tests.support.loop import ManualLoop

CONFIG = EwmaConfig(decay_time=10.0, default_rtt=0.01, penalty=1000.0)


def test_a_peak_is_believed_at_once_and_forgotten_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = ManualLoop.ticking(monkeypatch)
    load = EwmaLoad(CONFIG)
    assert [load.cost(0), load.cost(2)] == [0.01, 1002.0]
    load.observe(0.1)
    assert [load.cost(0), load.cost(3)] == [0.1, 0.4]
    load.observe(1.0)
    assert load.cost(0) == 1.0
    load.observe(0.1)
    assert load.cost(0) == 1.0  # no time has passed
    loop.advance(10.0)
    assert load.cost(0) == pytest.approx(0.368, abs=0.001)
    load.observe(0.1)
    assert load.cost(0) == pytest.approx(0.431, abs=0.001)
    loop.advance(200.0)
    assert load.cost(0) < 1e-6  # so it is tried again


def test_slow_hosts_are_avoided(monkeypatch: pytest.MonkeyPatch) -> None:
    ManualLoop.ticking(monkeypatch)
    many = hosts([1] * 10)
    balancer = PeakEwma(many, random.Random(1), CONFIG)
    for at, host in enumerate(many):
        host.load.observe(5.0 if at == 3 else 0.1)
    found = Counter(balancer.choose(REQUEST).key for _ in range(1000))
    assert many[3].key not in found
    assert len(found) == 9
    for host in many:
        host.rq_active = 60
    many[3].rq_active = 0
    assert many[3].key in {balancer.choose(REQUEST).key for _ in range(100)}


def test_one_host_is_always_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    ManualLoop.ticking(monkeypatch)
    (host,) = hosts([1])
    assert PeakEwma((host,), random.Random(1), CONFIG).choose(REQUEST) is host


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 30)), min_size=1, max_size=20))
def test_it_is_never_above_the_highest_peak(observed: list[tuple[float, float]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        loop = ManualLoop.ticking(patch)
        load = EwmaLoad(CONFIG)
        for seconds, pause in observed:
            load.observe(seconds)
            assert load.cost(0) >= seconds
            loop.advance(pause)
        assert 0 <= load.cost(0) <= max(seconds for seconds, _ in observed) + 1e-9
