"""The terminal: what is happening while it happens, and the tables at the end, losses as visible as wins."""

from types import TracebackType
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.targets import BASELINE, TARGETS

# A target that answers less than this share of what was asked has a queue, not a latency.
SATURATED = 0.97
TELEMETRY_GOAL_US = 6.0

Cell = dict[str, Any]


class Screen:
    """A progress line per scenario; on something that is not a terminal, one plain line when a scenario ends."""

    def __init__(self, console: Console, steps: int) -> None:
        self.console, self.steps = console, steps
        columns = (
            SpinnerColumn(finished_text="[green]+"),
            TextColumn("{task.fields[title]:<13}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self.tasks: dict[str, TaskID] = {}
        self.last = ""

    def __enter__(self) -> "Screen":
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def begin(self, name: str) -> None:
        """A line for this scenario, and its clock starts."""
        self.tasks[name] = self.progress.add_task("", total=self.steps, title=name)

    def say(self, name: str, words: str) -> None:
        """Show what happens now; a standing, which names its blocks, also moves the bar."""
        self.last = words
        advance = 1 if " blocks" in words else 0
        self.progress.update(self.tasks[name], description=words, advance=advance)

    def end(self, name: str) -> None:
        """This scenario is finished."""
        self.progress.update(self.tasks[name], completed=self.steps)
        if not self.console.is_terminal:
            self.console.print(f"{name}: {self.last}", highlight=False, soft_wrap=True)


def show(console: Console, summary: dict[str, Any]) -> None:
    """All tables, as far as there is something in them."""
    targets = [name for name in TARGETS if name in summary["targets"]]
    scenarios: dict[str, Cell] = summary["scenarios"]
    if scenarios:
        console.print(_costs(scenarios, targets))
        if any(one["rate"] for one in scenarios.values()):
            console.print(_latencies(scenarios, targets))
        _notes(console, scenarios, targets)
        _telemetry(console, scenarios, targets)
    for name, why in summary["absent"].items():
        console.print(f"{name}: absent, {why}", highlight=False)
    if summary.get("gates"):
        console.print(_gates(summary["gates"]))


def _costs(scenarios: dict[str, Cell], targets: list[str]) -> Table:
    title = f"CPU per request of the data path; ratio to {BASELINE} with its 95 % interval"
    table = Table(title=title, box=SIMPLE)
    table.add_column("scenario", no_wrap=True)
    for name in targets:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("goal", justify="right", no_wrap=True)
    table.add_column("blocks", justify="right", no_wrap=True)
    for name, one in scenarios.items():
        cells = [_cost(one, target) for target in targets]
        count = f"{one['accepted']}/{one['blocks']}" + (" [red]noisy[/]" if one["noisy"] else "")
        table.add_row(name, *cells, _goal(one), count)
    return table


def _cost(one: Cell, target: str) -> str:
    if target in one["failed"]:
        return "[red]failed[/]"
    found = one["targets"].get(target)
    if not found or found["us_data"] is None:
        return "-"
    microseconds = f"{found['us_data']:.1f} us"
    ratio = found["ratio_data"]
    if not ratio or target == BASELINE:
        return microseconds
    interval = f" {_interval(ratio)}" if target == "pyproxy" else ""
    return f"{_number(ratio['median'])}x{interval}\n[dim]{microseconds}[/]"


def _goal(one: Cell) -> str:
    if one["goal"] is None:
        return ""
    ratio = (one["targets"].get("pyproxy") or {}).get("ratio_data")
    if not ratio:
        return f"{one['goal']:.2f}"
    met = ratio["median"] <= one["goal"]
    return f"[{'green' if met else 'red'}]{one['goal']:.2f} {'met' if met else 'missed'}[/]"


def _interval(estimate: Cell) -> str:
    if estimate["low"] is None:
        return ""
    return f"\\[{_number(estimate['low'])}-{_number(estimate['high'])}]"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 0.1 else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def _latencies(scenarios: dict[str, Cell], targets: list[str]) -> Table:
    table = Table(title="Latency added to the direct way, microseconds from the intended moment: p50 / p99", box=SIMPLE)
    table.add_column("rate")
    for name in targets:
        table.add_column(name, justify="right", no_wrap=True)
    for one in scenarios.values():
        if one["rate"]:
            table.add_row(f"{one['rate']:,}/s", *(_added(one, target) for target in targets))
    return table


def _added(one: Cell, target: str) -> str:
    found = one["targets"].get(target)
    if target in one["failed"]:
        return "[red]failed[/]"
    if not found or not found["added_us"]["p50"]:
        return "-"
    if found["rate"] < SATURATED * one["rate"]:
        return f"[red]only {found['rate']:,.0f}/s[/]"
    return " / ".join(f"{found['added_us'][quantile]['median']:.0f}" for quantile in ("p50", "p99"))


def _telemetry(console: Console, scenarios: dict[str, Cell], targets: list[str]) -> None:
    """What everything switched on costs over nothing switched on."""
    on, off = scenarios.get("h1-telemetry"), scenarios.get("h1-ka-bare")
    if on is None or off is None:
        return
    costs = {}
    for name in targets:
        both = [one["targets"].get(name) for one in (on, off)]
        if all(found and found["us_data"] is not None for found in both):
            costs[name] = both[0]["us_data"] - both[1]["us_data"]
    words = ", ".join(f"{name} {cost:.1f} us" for name, cost in costs.items())
    if "pyproxy" in costs:
        met = costs["pyproxy"] <= TELEMETRY_GOAL_US
        words += f" (goal {TELEMETRY_GOAL_US:g} us: [{'green]met' if met else 'red]missed'}[/])"
    console.print(f"all telemetry on costs a request: {words}", highlight=False)


def _notes(console: Console, scenarios: dict[str, Cell], targets: list[str]) -> None:
    for name, one in scenarios.items():
        for target, reason in one["failed"].items():
            console.print(f"[red]{name}: {target} failed: {reason}[/]", highlight=False)
        for target, reason in one.get("left_out", {}).items():
            if target in targets:
                console.print(f"{name}: without {target}, {reason}", highlight=False)
    for name in targets:
        if TARGETS[name].lacks:
            console.print(f"{name} is the floor in C, without: {TARGETS[name].lacks}", highlight=False)


def _gates(gates: dict[str, Any]) -> Table:
    table = Table("gate", "target", "found", "", title="Gates", box=SIMPLE)
    for gate, found in gates.items():
        for target, one in found.items():
            words = one.get("error") or ", ".join(_fact(key, one[key]) for key in one if key not in ("ok", "processes"))
            verdict = (
                "" if "ok" not in one or target != "pyproxy" else "[green]ok[/]" if one["ok"] else "[red]missed[/]"
            )
            table.add_row(gate, target, words, verdict)
    return table


def _fact(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count:g}" for name, count in value.items())
    return f"{key} {value / 1024:.1f} MB" if key in ("rss", "pss", "private_dirty") else f"{key} {value:g}"
