from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyproxy.clusters.health_checks.asking import found_in_order
from pyproxy.clusters.health_checks.state import HealthState, Outcome, Step
from pyproxy.config.health_check import HealthCheckConfig, HttpCheckConfig

CONFIG = HealthCheckConfig(
    check=HttpCheckConfig("/"),
    timeout=1.0,
    interval=1.0,
    unhealthy_threshold=3,
    healthy_threshold=2,
    unhealthy_interval=2.0,
    unhealthy_edge_interval=3.0,
    healthy_edge_interval=4.0,
    no_traffic_interval=5.0,
    no_traffic_healthy_interval=6.0,
)
GOOD, BAD, LOST = Outcome.GOOD, Outcome.BAD, Outcome.UNREACHED


def after(*outcomes: Outcome) -> tuple[HealthState, Step]:
    state = HealthState(CONFIG)
    step = Step.SAME
    for outcome in outcomes:
        step = state.take(outcome)
    return state, step


@pytest.mark.parametrize(
    ("outcomes", "failed", "step"),
    [
        ((GOOD,), False, Step.CHANGED),  # the first decides
        ((LOST,), True, Step.SAME),
        ((LOST, GOOD), True, Step.PENDING),
        ((LOST, GOOD, GOOD), False, Step.CHANGED),
        ((LOST, GOOD, LOST, GOOD), True, Step.PENDING),
        ((GOOD, LOST, LOST), False, Step.PENDING),
        ((GOOD, LOST, LOST, LOST), True, Step.CHANGED),
        ((GOOD, LOST, LOST, GOOD, LOST), False, Step.PENDING),
        ((GOOD, BAD), True, Step.CHANGED),  # a host that says so itself is believed
        ((GOOD, Outcome.RETRIABLE), False, Step.PENDING),
        ((GOOD, Outcome.TIMED_OUT, Outcome.RETRIABLE, LOST), True, Step.CHANGED),
        ((GOOD, Outcome.DEGRADED), False, Step.CHANGED),
        ((Outcome.DEGRADED, Outcome.DEGRADED), False, Step.SAME),
    ],
)
def test_results_add_up(outcomes: tuple[Outcome, ...], failed: bool, step: Step) -> None:
    state, last = after(*outcomes)
    assert (state.failed, last) == (failed, step)


@pytest.mark.parametrize(
    ("outcomes", "traffic", "seconds"),
    [
        ((GOOD,), True, 1.0),
        ((GOOD, LOST), True, 4.0),
        ((LOST,), True, 2.0),
        ((LOST, GOOD), True, 3.0),
        ((LOST,), False, 5.0),
        ((GOOD,), False, 6.0),
    ],
)
def test_how_soon_a_host_is_asked_again(outcomes: tuple[Outcome, ...], traffic: bool, seconds: float) -> None:
    state, step = after(*outcomes)
    assert state.next_interval(step, traffic=traffic) == seconds


@given(st.lists(st.sampled_from(list(Outcome)), min_size=1, max_size=30))
def test_a_host_fails_and_recovers_only_by_enough_in_a_row(outcomes: list[Outcome]) -> None:
    state = HealthState(CONFIG)
    for at, outcome in enumerate(outcomes):
        before = state.failed
        step = state.take(outcome)
        if before and not state.failed:
            assert at == 0 or all(one.good for one in outcomes[max(0, at - 1) : at + 1])
        if not before and state.failed:
            assert outcome in (Outcome.BAD, Outcome.PASSIVE) or not any(one.good for one in outcomes[at - 2 : at + 1])
        if state.failed is not before:
            assert step is Step.CHANGED


def test_payloads_come_in_order() -> None:
    assert found_in_order((b"a", b"c"), b"abc")
    assert not found_in_order((b"c", b"a"), b"abc")
    assert found_in_order((), b"")
