"""Blocks: every target runs twice in mirrored order around a control; noisy blocks are thrown away whole.

ABBA order gives every target the same mean position, so a steady drift of the machine cancels. A block is rejected
for all targets or for none: dropping one side's bad runs would be choosing the result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.lab import CONTROL, DIRECT, Sample
from bench.ratio import Estimate, bootstrap, bootstrap_ratio

STEAL_PERCENT = 2.0
CONTROL_OFF = 0.05
# Waking a sleeping process is noisier than computing, and the direct run is nothing but wake-ups.
DIRECT_OFF = 0.15
HALF_WIDTH = 0.03


def order(names: Sequence[str], index: int, control: bool) -> list[str]:
    """The run order of a block; who begins rotates, so that nobody always follows the same neighbour."""
    turn = index % len(names)
    first = [*names[turn:], *names[:turn]]
    return [*first, *([CONTROL] if control else []), *reversed(first)]


@dataclass(frozen=True, slots=True)
class Block:
    """The runs of one block in the order in which they ran."""

    index: int
    samples: tuple[Sample, ...]
    steal_percent: float

    def of(self, target: str) -> list[Sample]:
        """The runs of one target."""
        return [sample for sample in self.samples if sample.target == target]

    def cost(self, target: str, total: bool = False) -> float | None:
        """CPU nanoseconds per request of a target, over its runs in this block."""
        costs = [sample.cost(total) for sample in self.of(target)]
        return sum(costs) / len(costs) if costs else None

    def latency(self, target: str, quantile: str) -> float | None:
        """A latency quantile in microseconds, over the target's runs in this block."""
        values = [sample.lat_us[quantile] for sample in self.of(target) if quantile in sample.lat_us]
        return sum(values) / len(values) if values else None


def verdicts(blocks: Sequence[Block]) -> list[str]:
    """Why each block is rejected; empty for those that count."""
    return [_errors(block) or _steal(block) or _off(block, blocks) for block in blocks]


def _errors(block: Block) -> str:
    failed = {sample.target: sample.errors for sample in block.samples if sample.errors}
    return ", ".join(f"{count} errors at {target}" for target, count in failed.items())


def _steal(block: Block) -> str:
    return f"steal {block.steal_percent:.1f} %" if block.steal_percent > STEAL_PERCENT else ""


def _off(block: Block, blocks: Sequence[Block]) -> str:
    """The runs that should always cost the same tell whether the machine was itself."""
    measures = {
        CONTROL: (lambda b: None if b.latency(DIRECT, "p50") else b.cost(CONTROL), CONTROL_OFF),
        DIRECT: (lambda b: b.latency(DIRECT, "p50"), DIRECT_OFF),
    }
    for name, (measure, allowed) in measures.items():
        seen = [value for value in map(measure, blocks) if value]
        value = measure(block)
        if value and abs(value / median(seen) - 1) > allowed:
            return f"{name} {100 * (value / median(seen) - 1):+.0f} %"
    return ""


def accepted(blocks: Sequence[Block]) -> list[Block]:
    """The blocks that count."""
    return [block for block, verdict in zip(blocks, verdicts(blocks), strict=True) if not verdict]


def cost_ratio(blocks: Sequence[Block], target: str, baseline: str, total: bool = False) -> Estimate | None:
    """How much CPU a request costs the target, relative to the baseline in the same block."""
    pairs = [(block.cost(target, total), block.cost(baseline, total)) for block in blocks]
    ratios = [cost / base for cost, base in pairs if cost and base]
    return bootstrap_ratio(ratios) if ratios else None


def added_latency(blocks: Sequence[Block], target: str, quantile: str) -> Estimate | None:
    """Microseconds that the target adds to the direct way in the same block."""
    pairs = [(block.latency(target, quantile), block.latency(DIRECT, quantile)) for block in blocks]
    added = [value - direct for value, direct in pairs if value is not None and direct is not None]
    return bootstrap(added) if added else None


def enough(estimate: Estimate | None, minimum: int) -> bool:
    """Whether more blocks would change nothing that is worth the time."""
    return estimate is not None and estimate.count >= minimum and estimate.half_width <= HALF_WIDTH
