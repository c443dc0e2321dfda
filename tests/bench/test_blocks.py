"""Order and rejection: nobody is favoured, and noise is thrown away for all or for none."""

from dataclasses import replace

import pytest

from bench import blocks
from bench.blocks import Block
from bench.ratio import Estimate
from bench.sample import CONTROL, DIRECT, Sample

NAMES = ["pyproxy", "envoy", "haproxy", "nginx"]


def sample(target: str, microseconds: float, **changes: object) -> Sample:
    spent = round(microseconds * 1000 * 100)
    plain = Sample(target, 100, 0, spent, spent * 2, 10**9, 1000, pace_ns=1_000_000)
    return replace(plain, **changes)  # type: ignore[arg-type]


def block(index: int, *samples: Sample, steal: float = 0.0) -> Block:
    return Block(index, samples, steal)


def calm(index: int, pyproxy: float = 20.0, envoy: float = 40.0, control: float = 10.0) -> Block:
    return block(index, sample("pyproxy", pyproxy), sample("envoy", envoy), sample(CONTROL, control))


@pytest.mark.parametrize("index", range(8))
def test_every_target_has_the_same_mean_position(index: int) -> None:
    order = blocks.order(NAMES, index, CONTROL)
    positions = {name: [i for i, other in enumerate(order) if other == name] for name in NAMES}
    assert {sum(places) / len(places) for places in positions.values()} == {4.0}
    assert order[4] == CONTROL
    assert order == order[::-1]


def test_every_target_begins_a_block_in_turn() -> None:
    assert [blocks.order(NAMES, index, None)[0] for index in range(5)] == [*NAMES, NAMES[0]]


def test_without_control_the_middle_is_empty() -> None:
    assert blocks.order(["a", "b"], 0, None) == ["a", "b", "b", "a"]


def test_calm_blocks_count() -> None:
    assert blocks.verdicts([calm(0), calm(1), calm(2)]) == ["", "", ""]


def test_errors_reject_and_name_the_target() -> None:
    broken = block(0, sample("pyproxy", 20, errors=3), sample("envoy", 40))
    assert blocks.verdicts([broken]) == ["3 errors at pyproxy"]


def test_steal_rejects() -> None:
    assert blocks.verdicts([replace(calm(0), steal_percent=2.5)]) == ["steal 2.5 %"]


def test_a_control_off_its_median_rejects_only_that_block() -> None:
    found = blocks.verdicts([calm(0), calm(1), calm(2, control=13.0)])
    assert found == ["", "", "control +30 %"]


def test_an_uneven_pace_rejects() -> None:
    slow = block(0, sample("pyproxy", 20), sample("envoy", 80, pace_ns=1_600_000))
    assert blocks.verdicts([slow]) == ["CPU pace differs by 60 %"]


def test_a_slow_but_even_pace_counts() -> None:
    slow = block(0, sample("pyproxy", 40, pace_ns=2_000_000), sample("envoy", 80, pace_ns=2_100_000))
    assert blocks.verdicts([slow]) == [""]


def test_repeated_runs_do_not_count() -> None:
    repeated = block(
        0, sample("pyproxy", 90, kept=False, pace_ns=3_000_000), sample("pyproxy", 20), sample("envoy", 40)
    )
    assert blocks.verdicts([repeated]) == [""]
    assert repeated.cost("pyproxy") == pytest.approx(20_000)


def test_errors_of_a_repeated_run_are_still_errors() -> None:
    repeated = block(0, sample("pyproxy", 90, kept=False, errors=1), sample("pyproxy", 20))
    assert blocks.verdicts([repeated]) == ["1 errors at pyproxy"]


def test_open_loop_is_controlled_by_the_direct_way() -> None:
    runs = [block(i, sample(DIRECT, 0, lat_us={"p50": p50, "p99": 900})) for i, p50 in enumerate((100, 101, 150))]
    assert blocks.verdicts(runs) == ["", "", "direct +49 %"]


def test_ratio_is_taken_within_blocks() -> None:
    """The second block ran on a machine half as fast; the ratio does not notice."""
    ratio = blocks.cost_ratio([calm(0), calm(1, 40.0, 80.0)], "pyproxy", "envoy")
    assert ratio is not None
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((0.5, 0.5, 0.5))


def test_runs_of_both_halves_of_a_block_are_averaged() -> None:
    drifting = block(0, sample("pyproxy", 20), sample("envoy", 42), sample("envoy", 48), sample("pyproxy", 25))
    ratio = blocks.cost_ratio([drifting], "pyproxy", "envoy")
    assert ratio is not None
    assert ratio.median == pytest.approx(0.5)


def test_no_ratio_without_the_baseline() -> None:
    assert blocks.cost_ratio([block(0, sample("pyproxy", 20))], "pyproxy", "envoy") is None


def test_added_latency_is_the_difference_to_direct() -> None:
    one = block(0, sample(DIRECT, 0, lat_us={"p50": 100.0}), sample("pyproxy", 20, lat_us={"p50": 160.0}))
    added = blocks.added_latency([one], "pyproxy", "p50")
    assert added is not None
    assert added.median == 60.0


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (None, False),
        (Estimate(0.5, 0.49, 0.51, 9), False),
        (Estimate(0.5, 0.49, 0.51, 10), True),
        (Estimate(0.5, 0.45, 0.55, 30), False),
    ],
)
def test_enough_is_a_narrow_interval_of_enough_blocks(estimate: Estimate | None, expected: bool) -> None:
    assert blocks.enough(estimate, minimum=10) is expected
