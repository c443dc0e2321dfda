"""Blocks: every target runs twice in mirrored order around a control; noisy blocks are thrown away whole.

ABBA order gives every target the same mean position, so a steady drift of the machine cancels. A block is rejected
for all targets or for none: dropping one side's bad runs would be choosing the result. Only a run during which a CPU
was slow is repeated on its own, because that is known without looking at what the run measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from bench.ratio import Estimate, bootstrap, bootstrap_ratio
from bench.sample import CONTROL, DIRECT, Sample

STEAL_PERCENT = 2.0
# The pace of the CPUs before and after each run; within a block it must have been about the same for everybody.
UNEVEN = 0.25
CONTROL_OFF = 0.10
# Waking a sleeping process is noisier than computing, and the direct run is nothing but wake-ups.
DIRECT_OFF = 0.15
HALF_WIDTH = 0.03


def order(names: Sequence[str], index: int, control: str | None) -> list[str]:
    """The run order of a block; who begins rotates, so that nobody always follows the same neighbour."""
    turn = index % len(names)
    first = [*names[turn:], *names[:turn]]
    return [*first, *([control] if control else []), *reversed(first)]


@dataclass(frozen=True, slots=True)
class Block:
    """The runs of one block in the order in which they ran."""

    index: int
    samples: tuple[Sample, ...]
    steal_percent: float

    def without(self, target: str) -> "Block":
        """The block as if a target had not taken part."""
        return replace(self, samples=tuple(sample for sample in self.samples if sample.target != target))

    def of(self, target: str) -> list[Sample]:
        """The runs of one target, without those that were repeated."""
        return [sample for sample in self.samples if sample.target == target and sample.kept]

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
    return [_errors(block) or _steal(block) or _uneven(block) or _off(block, blocks) for block in blocks]


def _errors(block: Block) -> str:
    failed = {sample.target: sample.errors for sample in block.samples if sample.errors}
    return ", ".join(f"{count} errors at {target}" for target, count in failed.items())


def _steal(block: Block) -> str:
    return f"steal {block.steal_percent:.1f} %" if block.steal_percent > STEAL_PERCENT else ""


def _uneven(block: Block) -> str:
    paces = [sample.pace_ns for sample in block.samples if sample.kept and sample.pace_ns]
    spread = max(paces) / min(paces) - 1 if paces else 0.0
    return f"CPU pace differs by {100 * spread:.0f} %" if spread > UNEVEN else ""


def _off(block: Block, blocks: Sequence[Block]) -> str:
    """The runs that should always cost the same tell whether the machine was itself."""
    open_loop = block.latency(DIRECT, "p50") is not None
    name, allowed = (DIRECT, DIRECT_OFF) if open_loop else (CONTROL, CONTROL_OFF)
    known = [_steady(other, open_loop) for other in blocks]
    value = _steady(block, open_loop)
    if value is None:
        return ""
    off = value / median(one for one in known if one is not None) - 1
    return f"{name} {100 * off:+.0f} %" if abs(off) > allowed else ""


def _steady(block: Block, open_loop: bool) -> float | None:
    return block.latency(DIRECT, "p50") if open_loop else block.cost(CONTROL)


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
