"""One scenario from start to verdict: warm up, fix the request counts, run blocks until the interval is narrow."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from bench import blocks, host
from bench.blocks import Block
from bench.lab import Bench, Lab
from bench.load import LoadFailed
from bench.process import ProcessFailed
from bench.ratio import Estimate
from bench.sample import CONTROL, DIRECT, Sample
from bench.scenarios import Scenario
from bench.targets import BASELINE, TARGETS

# Fewer accepted blocks than this say nothing about their spread.
FEW = 3
FAULTY_BLOCKS = 3

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much time the answer is worth; runs are short, so that the machine has no time to change within a block."""

    run_seconds: float = 0.2
    attempts: int = 3
    at_least: int = 10
    at_most: int = 30
    rate_blocks: int = 6
    rate_share: float = 1.0

    @classmethod
    def of(cls, quick: bool, at_most: int | None) -> "Effort":
        """From the command line."""
        if quick:
            count = at_most or 3
            return cls(0.1, 2, min(3, count), count, rate_blocks=2, rate_share=0.25)
        count = at_most or 30
        return cls(at_least=min(10, count), at_most=count, rate_blocks=min(6, count))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything one scenario brought to light."""

    scenario: Scenario
    blocks: list[Block]
    failed: dict[str, str]
    targets: list[str] = field(default_factory=list)

    @property
    def counted(self) -> list[Block]:
        """The accepted blocks; if the machine was too noisy for a few, all that ran without errors."""
        if not self.noisy:
            return blocks.accepted(self.blocks)
        return [block for block in self.blocks if not any(sample.errors for sample in block.samples)]

    @property
    def noisy(self) -> bool:
        """Whether the numbers come from blocks that should have been rejected."""
        return len(blocks.accepted(self.blocks)) < min(FEW, len(self.blocks))


class Session:
    """The measuring of one scenario inside a running lab."""

    def __init__(self, lab: Lab, names: Iterable[str], effort: Effort, say: Say) -> None:
        self.lab, self.effort, self.say = lab, effort, say
        self.scenario = lab.scenario
        self.names = [name for name in names if name in lab.running]
        self.attempts, self.at_most = effort.attempts, effort.at_most
        self.control = CONTROL if CONTROL in lab.running else None
        if self.scenario.rate:
            # The direct way is measured anyway and is its own control; a run is too long to be repeated.
            self.names.append(DIRECT)
            self.attempts, self.at_most, self.control = 1, effort.rate_blocks, None
        self.counts: dict[str, int] = {}
        self.blocks: list[Block] = []

    def measure(self) -> Outcome:
        """Run until it is enough, or as often as is allowed."""
        for name in [*self.names, *([self.control] if self.control else [])]:
            self._guard(name, partial(self._warm_up, name))
        while len(self.blocks) < self.at_most and self.names:
            self.blocks.append(self._block(len(self.blocks)))
            self._drop_the_faulty()
            self.say(self.standing())
            if blocks.enough(self._leading_ratio(), self.effort.at_least):
                break
        targets = [name for name in self.names if name != DIRECT]
        return Outcome(self.scenario, self.blocks, self.lab.failed, targets)

    def standing(self) -> str:
        """Where the numbers are at the moment, in one line."""
        calm = blocks.accepted(self.blocks)
        words = [f"{len(calm)} of {len(self.blocks)} blocks"]
        for name in self.names:
            ratio = blocks.cost_ratio(calm, name, BASELINE)
            if ratio and name != BASELINE:
                words.append(f"{name} {ratio.median:.2f}x")
        reason = blocks.verdicts(self.blocks)[-1]
        return ", ".join([*words, *([f"rejected: {reason}"] if reason else [])])

    def _leading_ratio(self) -> Estimate | None:
        """The ratio that decides when to stop: that of the first target that is not the baseline."""
        if self.scenario.rate or BASELINE not in self.names:
            return None
        leader = next((name for name in self.names if name != BASELINE), None)
        return blocks.cost_ratio(blocks.accepted(self.blocks), leader, BASELINE) if leader else None

    def _warm_up(self, name: str) -> Sample:
        """A target that does not even answer here would spoil every block for the others."""
        warm = self._calibrate(name)
        if warm.errors:
            raise ProcessFailed(f"{warm.errors} of {warm.requests} requests failed while it warmed up")
        if self.scenario.mesh and name in TARGETS and not warm.log_bytes:
            raise ProcessFailed(f"it logged nothing of {warm.requests} requests")
        return warm

    def _drop_the_faulty(self) -> None:
        """One bad answer spoils a block; a target that goes on giving them is what is broken."""
        for name in list(self.names):
            spoilt = sum(any(sample.errors for sample in block.of(name)) for block in self.blocks)
            if spoilt >= FAULTY_BLOCKS:
                self._drop(name, f"requests failed in {spoilt} blocks")
                self.blocks = [block.without(name) for block in self.blocks]

    def _calibrate(self, name: str) -> Sample:
        """Warm up twice, then fix how many requests burn the CPU time that a run is worth."""
        if self.scenario.rate:
            seconds = self.scenario.seconds * self.effort.rate_share
            self.counts[name] = round(self.scenario.rate * seconds)
            return self.lab.run(name, round(self.scenario.rate * min(1.0, seconds)))
        budget = self.effort.run_seconds * 1e9
        rough = self.lab.run(name, min(500, round(3e8 / self.lab.run(name, 64).cost(total=True)) + 64))
        warm = self.lab.run(name, self._affordable(rough, budget))
        self.counts[name] = self._affordable(warm, budget)
        return warm

    def _affordable(self, sample: Sample, budget: float) -> int:
        count = int(budget / sample.cost(total=True))
        return max(64, min(self.scenario.most_requests, count))

    def _block(self, index: int) -> Block:
        """One run after the other; a target that breaks is left out from then on."""
        before = host.Ticks.now()
        samples: list[Sample] = []
        for name in blocks.order(self.names, index, self.control):
            self.say(f"block {index + 1}: {name}")
            samples += self._run(name, index)
        return Block(index, tuple(samples), round(host.Ticks.now().steal_percent_since(before), 2))

    def _run(self, name: str, seed: int) -> list[Sample]:
        """Repeat a short run while the CPUs are slow before or after it; all attempts are told, the calmest is kept."""
        pace = self.lab.bench.pace
        samples: list[Sample] = []
        while name in self.lab.running and len(samples) < self.attempts:
            before = pace.read()
            sample = self._guard(name, partial(self.lab.run, name, self.counts[name], seed))
            if sample:
                samples.append(replace(sample, pace_ns=max(before, pace.read()), kept=False))
                if pace.is_calm(samples[-1].pace_ns):
                    break
        if samples:
            calmest = min(range(len(samples)), key=lambda index: samples[index].pace_ns)
            samples[calmest] = replace(samples[calmest], kept=True)
        return samples

    def _guard(self, name: str, action: Callable[[], Sample]) -> Sample | None:
        try:
            return action()
        except (ProcessFailed, LoadFailed, OSError) as error:
            self._drop(name, str(error))
            return None

    def _drop(self, name: str, reason: str) -> None:
        self.lab.drop(name, reason)
        self.names = [other for other in self.names if other != name]


def measure(bench: Bench, scenario: Scenario, names: list[str], effort: Effort, say: Say) -> Outcome:
    """The whole life of one scenario."""
    say("starting")
    names = [name for name in names if name not in scenario.left_out]
    with Lab(bench, scenario, names) as lab:
        return Session(lab, names, effort, say).measure()
