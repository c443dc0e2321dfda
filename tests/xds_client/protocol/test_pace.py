from __future__ import annotations

import random

from pyproxy.config.config_source import BackOffConfig, RateLimitConfig
from pyproxy.xds_client.protocol.pace import BackOff, RequestPace


def test_back_off_doubles_its_bound_and_never_exceeds_it() -> None:
    drawn = [[back_off.next_seconds() for _ in range(12)] for back_off in _many(500)]
    bounds = [0.5, 1, 2, 4, 8, 16, *[30.0] * 6]
    for attempt, bound in enumerate(bounds):
        waits = [one[attempt] for one in drawn]
        assert max(waits) <= bound
        assert max(waits) > bound * 0.9
        assert min(waits) < bound * 0.2


def test_an_outage_of_ten_minutes_costs_few_attempts_and_none_in_a_row() -> None:
    for back_off in _many(200):
        waits = []
        while sum(waits) < 600:
            waits.append(back_off.next_seconds())
        assert len(waits) <= 60
        assert min(waits[5:]) >= 0.25


def test_two_hundred_do_not_come_back_at_once() -> None:
    arrivals = []
    for back_off in _many(200):
        at = 0.0
        while at < 60:  # the control plane is back after a minute
            at += back_off.next_seconds()
        arrivals.append(at)
    assert max(arrivals) - min(arrivals) >= 10
    assert max(sum(start <= at < start + 0.1 for at in arrivals) for start in arrivals) <= 20


def test_success_begins_anew() -> None:
    back_off = BackOff(BackOffConfig(), random.Random(1))
    for _ in range(20):
        back_off.next_seconds()
    back_off.reset()
    assert back_off.next_seconds() <= 0.5


def test_requests_without_a_limit_and_with_one() -> None:
    assert all(RequestPace(None).take(1.0) for _ in range(1000))
    pace = RequestPace(RateLimitConfig(3, 2.0))
    assert [pace.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert pace.next_token(10.0) == 10.5
    assert [pace.take(10.5), pace.take(10.5)] == [True, False]


def _many(count: int) -> list[BackOff]:
    return [BackOff(BackOffConfig(), random.Random(seed)) for seed in range(count)]
