"""From runs to files, tables and picture, with made-up runs."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench import picture, report, results
from bench.blocks import Block
from bench.sample import CONTROL, DIRECT, Sample
from bench.scenarios import SCENARIOS, Scenario
from bench.session import Outcome

ABOUT: dict[str, Any] = {
    "schema": 1,
    "begun": "2026-01-02T03:04:05+00:00",
    "git": "abc",
    "quick": False,
    "host": {"cpu": "A CPU", "kernel": "6"},
    "python": {"version": "3.11.2"},
    "targets": ["pyproxy", "envoy"],
    "absent": {"nginx": "apt-get install nginx-light"},
}
BARE = next(one for one in SCENARIOS if one.name == "h1-ka-bare")
RATE = next(one for one in SCENARIOS if one.name == "latency-1k")


def sample(target: str, microseconds: float, p50: float | None = None) -> Sample:
    latency = {} if p50 is None else {"p50": p50, "p99": p50 * 2}
    spent = round(microseconds * 1e5)
    return Sample(target, 100, 0, spent, spent + 1000, 10**8, 1000, latency, 10**6)


def outcome(scenario: Scenario, pyproxy: float, count: int = 4, failed: dict[str, str] | None = None) -> Outcome:
    made = []
    for index in range(count):
        runs = [sample("pyproxy", pyproxy, 150.0), sample("envoy", 50.0, 180.0)]
        runs.append(sample(DIRECT, 0, 100.0) if scenario.rate else sample(CONTROL, 10))
        made.append(Block(index, tuple(runs if scenario.rate else [replace(r, lat_us={}) for r in runs]), 0.5))
    return Outcome(scenario, made, failed or {}, ["pyproxy", "envoy"])


def summary(*outcomes: Outcome) -> dict[str, Any]:
    return {**ABOUT, "scenarios": {one.scenario.name: results.summarize(one) for one in outcomes}}


def shown(of: dict[str, Any]) -> str:
    console = Console(width=120, file=io.StringIO())
    report.show(console, of)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_one_line_of_json_per_run(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    results.append_runs(path, outcome(BARE, 25.0), ABOUT)
    results.append_runs(path, outcome(RATE, 25.0), ABOUT)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 24
    first = lines[0]
    assert (first["scenario"], first["profile"], first["target"]) == ("h1-ka-bare", "bare", "pyproxy")
    assert (first["block"], first["order"], first["accepted"], first["errors"]) == (0, 0, True, 0)
    assert (first["cpu_ns_data"], first["cpu_ns_total"], first["requests"]) == (2_500_000, 2_501_000, 100)
    assert first["host"]["steal_pct"] == 0.5
    assert lines[-1]["lat_us"]["p50"] == 100.0


def test_summary_has_ratio_and_interval() -> None:
    found = summary(outcome(BARE, 25.0))["scenarios"]["h1-ka-bare"]
    assert found["targets"]["pyproxy"]["ratio_data"] == {"median": 0.5, "low": 0.5, "high": 0.5, "count": 4}
    assert found["targets"]["pyproxy"]["us_data"] == 25.0
    assert (found["blocks"], found["accepted"], found["noisy"]) == (4, 4, False)


def test_summary_has_added_latency() -> None:
    found = summary(outcome(RATE, 25.0))["scenarios"]["latency-1k"]["targets"]
    assert found["pyproxy"]["added_us"]["p50"]["median"] == 50.0
    assert found["envoy"]["added_us"]["p99"]["median"] == 160.0


def test_summary_is_valid_json_even_of_one_block() -> None:
    text = json.dumps(summary(outcome(BARE, 25.0, count=1)), allow_nan=False)
    assert '"low": null' in text


def test_noisy_blocks_are_used_only_as_a_last_resort_and_marked() -> None:
    noisy = outcome(BARE, 25.0)
    noisy = replace(noisy, blocks=[replace(one, steal_percent=9.0) for one in noisy.blocks])
    found = summary(noisy)["scenarios"]["h1-ka-bare"]
    assert (found["accepted"], found["noisy"]) == (0, True)
    assert found["targets"]["pyproxy"]["ratio_data"]["median"] == 0.5


@pytest.mark.parametrize(("microseconds", "words"), [(25.0, "0.60 met"), (50.0, "0.60 missed")])
def test_table_says_whether_the_goal_is_met(microseconds: float, words: str) -> None:
    text = shown(summary(outcome(BARE, microseconds)))
    assert words in text
    assert f"{microseconds / 50:.2f}x" in text


def test_table_names_what_failed_and_what_is_absent() -> None:
    text = shown(summary(outcome(BARE, 25.0, failed={"nginx": "exit status 1: bind"})))
    assert "h1-ka-bare: nginx failed: exit status 1: bind" in text
    assert "nginx: absent, apt-get install nginx-light" in text


def test_a_target_that_cannot_keep_up_has_no_latency() -> None:
    slow = summary(outcome(RATE, 25.0))
    slow["scenarios"]["latency-1k"]["targets"]["envoy"]["rate"] = 700.0
    text = shown(slow)
    assert "only 700/s" in text
    assert "50 / 200" not in text


def test_gates_are_shown() -> None:
    found = summary()
    found["gates"] = {
        "syscalls": {"pyproxy": {"data": 5.0, "calls": {"read": 3.0}, "ok": False}, "envoy": {"error": "gone"}},
        "allocations": {"pyproxy": {"gc_runs": 0, "blocks_grown": 3, "ok": True}},
    }
    text = shown(found)
    assert "data 5, read 3" in text
    assert "missed" in text
    assert "gone" in text
    assert "gc_runs 0, blocks_grown 3" in text


def test_picture_is_drawn_and_the_same_again(tmp_path: Path) -> None:
    of = summary(outcome(BARE, 25.0), outcome(RATE, 60.0))
    picture.draw(of, tmp_path / "one")
    picture.draw(of, tmp_path / "two")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.png").stat().st_size > 10_000


def test_no_picture_without_a_ratio(tmp_path: Path) -> None:
    picture.draw(summary(), tmp_path / "none")
    assert not list(tmp_path.iterdir())


def test_what_telemetry_costs_is_told() -> None:
    def cell(**costs: float) -> dict[str, Any]:
        return {"targets": {name: {"us_data": cost} for name, cost in costs.items()}}

    told = io.StringIO()
    console = Console(file=told, width=200)
    scenarios = {"h1-ka-bare": cell(pyproxy=10.0, envoy=40.0), "h1-telemetry": cell(pyproxy=15.5, envoy=60.0)}
    report._telemetry(console, scenarios, ["pyproxy", "envoy", "nginx"])
    assert told.getvalue() == "all telemetry on costs a request: pyproxy 5.5 us, envoy 20.0 us (goal 6 us: met)\n"
    report._telemetry(console, {"h1-ka-bare": cell(pyproxy=1.0)}, ["pyproxy"])
    assert told.getvalue().count("\n") == 1
