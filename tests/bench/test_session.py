"""How long a scenario goes on, which runs are repeated, what becomes of a target that breaks; with a made-up lab."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from bench.process import ProcessFailed
from bench.sample import CONTROL, DIRECT, Sample
from bench.scenarios import SCENARIOS, SMALL, Scenario
from bench.session import Effort, Outcome, Session

COSTS = {"pyproxy": 20_000, "envoy": 40_000, CONTROL: 10_000, DIRECT: 0}
CALM = 1_000_000
RATE = next(one for one in SCENARIOS if one.name == "latency-1k")


class Lab:
    """Every target costs what `COSTS` says; `disturb` may change or refuse the n-th run of a target."""

    def __init__(self, scenario: Scenario = SMALL) -> None:
        self.scenario = scenario
        self.running: dict[str, object] = dict.fromkeys(COSTS, object())
        self.failed: dict[str, str] = {}
        self.log: list[tuple[str, int]] = []
        self.paces: list[int] = []
        self.disturb: Callable[[str, int, Sample], Sample] = lambda name, count, sample: sample
        pace = SimpleNamespace(read=self._pace, is_calm=lambda reading: reading <= CALM)
        self.bench = SimpleNamespace(pace=pace)

    def _pace(self) -> int:
        return self.paces.pop(0) if self.paces else CALM

    def run(self, name: str, requests: int, seed: int = 1) -> Sample:
        self.log.append((name, requests))
        spent = COSTS[name] * requests
        latency = {"p50": 100.0, "p99": 200.0} if self.scenario.rate else {}
        sample = Sample(name, requests, 0, spent, spent, 10**9, 1, latency)
        return self.disturb(name, sum(one == name for one, _ in self.log), sample)

    def drop(self, name: str, reason: str) -> None:
        self.failed[name] = reason
        self.running.pop(name, None)


def measure(lab: Any, effort: Effort | None = None) -> Outcome:
    effort = effort or Effort(at_least=3, at_most=6)
    return Session(lab, ["pyproxy", "envoy"], effort, lambda words: None).measure()


def test_every_run_burns_the_same_cpu_time() -> None:
    lab = Lab()
    outcome = measure(lab)
    spent = {sample.target: sample.cpu_ns_data for block in outcome.blocks for sample in block.samples}
    assert spent == {"pyproxy": 200_000_000, "envoy": 200_000_000, CONTROL: 200_000_000}


def test_it_stops_when_the_interval_is_narrow() -> None:
    assert len(measure(Lab()).blocks) == 3


def test_it_goes_on_while_the_interval_is_wide_but_not_for_ever() -> None:
    lab = Lab()
    lab.disturb = lambda name, count, sample: (
        replace(sample, cpu_ns_data=sample.cpu_ns_data * (1 + count % 7)) if name == "pyproxy" else sample
    )
    assert len(measure(lab).blocks) == 6


def test_a_slow_run_is_repeated_and_the_calmest_attempt_kept() -> None:
    lab = Lab()
    lab.paces = [CALM * 2, CALM * 2, CALM * 2, CALM * 3, CALM, CALM]
    samples = measure(lab).blocks[0].samples
    assert [(sample.target, sample.kept) for sample in samples[:4]] == [
        ("pyproxy", False),
        ("pyproxy", False),
        ("pyproxy", True),
        ("envoy", True),
    ]


def test_repeating_has_an_end() -> None:
    lab = Lab()
    lab.paces = [CALM * 3, CALM * 3, CALM * 2, CALM * 2, CALM * 4, CALM * 4]
    samples = [sample for sample in measure(lab).blocks[0].samples if sample.target == "pyproxy"]
    assert [sample.kept for sample in samples] == [False, True, False, True]


def test_a_target_that_fails_while_warming_up_is_left_out() -> None:
    lab = Lab()
    lab.disturb = lambda name, count, sample: replace(sample, errors=5) if name == "pyproxy" else sample
    outcome = measure(lab)
    assert "failed while it warmed up" in outcome.failed["pyproxy"]
    assert outcome.targets == ["envoy"]
    assert all(not block.of("pyproxy") for block in outcome.blocks)


def test_a_mesh_target_that_logs_nothing_is_left_out() -> None:
    lab = Lab(replace(SMALL, mesh=True))
    lab.disturb = lambda name, count, sample: sample if name == "pyproxy" else replace(sample, log_bytes=9)
    outcome = measure(lab)
    assert "it logged nothing" in outcome.failed["pyproxy"]
    assert outcome.targets == ["envoy"]


def test_a_target_that_dies_is_left_out_and_the_others_go_on() -> None:
    lab = Lab()

    def die(name: str, count: int, sample: Sample) -> Sample:
        if name == "pyproxy" and count > 5:
            raise ProcessFailed("gone")
        return sample

    lab.disturb = die
    outcome = measure(lab)
    assert outcome.failed == {"pyproxy": "gone"}
    assert outcome.blocks[-1].of("envoy")


def test_a_target_that_goes_on_failing_does_not_spoil_the_others() -> None:
    lab = Lab()
    lab.disturb = lambda name, count, sample: replace(sample, errors=1) if name == "pyproxy" and count > 4 else sample
    outcome = measure(lab)
    assert outcome.failed == {"pyproxy": "requests failed in 3 blocks"}
    assert not outcome.noisy
    assert all(block.of("envoy") for block in outcome.counted)


def test_at_a_fixed_rate_the_direct_way_takes_part_and_nothing_is_repeated() -> None:
    lab = Lab(RATE)
    lab.paces = [CALM * 2] * 4
    outcome = measure(lab, Effort(rate_blocks=2))
    assert [sample.target for sample in outcome.blocks[0].samples] == [
        "pyproxy", "envoy", DIRECT, DIRECT, "envoy", "pyproxy",
    ]  # fmt: skip
    assert len(outcome.blocks) == 2
    assert {requests for _, requests in lab.log[3:]} == {2000}
    assert outcome.targets == ["pyproxy", "envoy"]


@pytest.mark.parametrize(
    ("quick", "at_most", "expected"),
    [(False, None, (10, 30)), (False, 5, (5, 5)), (True, None, (3, 3)), (True, 1, (1, 1)), (False, 50, (10, 50))],
)
def test_effort_of_the_command_line(quick: bool, at_most: int | None, expected: tuple[int, int]) -> None:
    effort = Effort.of(quick, at_most)
    assert (effort.at_least, effort.at_most) == expected
