"""What is kept: a line of JSON per run, and a summary that the table and the picture are drawn from."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from bench import blocks
from bench.ratio import Estimate
from bench.session import Outcome
from bench.targets import BASELINE

SCHEMA = 1
QUANTILES = ("p50", "p99")


def append_runs(path: Path, outcome: Outcome, about: dict[str, Any]) -> None:
    """One line per run, in the order in which they ran, rejected ones included."""
    lines = []
    for block, reason in zip(outcome.blocks, blocks.verdicts(outcome.blocks), strict=True):
        for position, sample in enumerate(block.samples):
            record = {
                "schema": SCHEMA,
                "git": about["git"],
                "host": {**about["host"], "steal_pct": block.steal_percent},
                "python": about["python"],
                "scenario": outcome.scenario.name,
                "profile": outcome.scenario.profile,
                "connections": outcome.scenario.connections,
                "block": block.index,
                "order": position,
                **sample.record(),
                "accepted": sample.kept and not reason,
                "rejected_because": reason or ("" if sample.kept else "repeated"),
            }
            lines.append(json.dumps(record) + "\n")
    with path.open("a") as file:
        file.writelines(lines)


def summarize(outcome: Outcome) -> dict[str, Any]:
    """One scenario in the summary."""
    counted = outcome.counted
    return {
        "about": outcome.scenario.about,
        "profile": outcome.scenario.profile,
        "connections": outcome.scenario.connections,
        "rate": outcome.scenario.rate,
        "goal": outcome.scenario.goal,
        "blocks": len(outcome.blocks),
        "accepted": len(blocks.accepted(outcome.blocks)),
        "noisy": outcome.noisy,
        "failed": outcome.failed,
        "left_out": outcome.scenario.left_out,
        "targets": {name: _target(outcome, counted, name) for name in outcome.targets},
    }


def _target(outcome: Outcome, counted: list[blocks.Block], name: str) -> dict[str, Any]:
    samples = [sample for block in counted for sample in block.of(name)]
    result: dict[str, Any] = {
        "us_data": _median_us(block.cost(name) for block in counted),
        "us_total": _median_us(block.cost(name, True) for block in counted),
        "ratio_data": _estimate(blocks.cost_ratio(counted, name, BASELINE)),
        "ratio_total": _estimate(blocks.cost_ratio(counted, name, BASELINE, total=True)),
        "requests": samples[0].requests if samples else 0,
        "pss_kb": max((sample.pss_kb for sample in samples), default=0),
    }
    if outcome.scenario.rate:
        result["rate"] = round(median(sample.rate for sample in samples), 1) if samples else None
        result["latency_us"] = {q: _median_us(_scaled(counted, name, q)) for q in QUANTILES}
        result["added_us"] = {q: _estimate(blocks.added_latency(counted, name, q)) for q in QUANTILES}
    return result


def _scaled(counted: list[blocks.Block], name: str, quantile: str) -> Iterable[float | None]:
    for block in counted:
        value = block.latency(name, quantile)
        yield None if value is None else value * 1000


def _median_us(nanoseconds: Iterable[float | None]) -> float | None:
    known = [value for value in nanoseconds if value is not None]
    return round(median(known) / 1000, 3) if known else None


def _estimate(estimate: Estimate | None) -> dict[str, float | int | None] | None:
    """JSON has no infinity: an interval that one block cannot have is null."""
    if estimate is None:
        return None
    single = estimate.count < 2
    return {
        key: None if single and key in ("low", "high") else value if key == "count" else round(value, 4)
        for key, value in asdict(estimate).items()
    }


def save(path: Path, summary: dict[str, Any]) -> None:
    """Write the summary as it stands; called after every scenario, so that an interrupted session keeps its part."""
    path.write_text(json.dumps(summary, indent=1) + "\n")
