"""`make drills`: runs the drills on pyproxy and on Envoy and prints a table. `python -m drills D1 D4` runs some."""

import argparse
import asyncio
import os
import sys

from rich.console import Console
from rich.table import Table

from drills import assault, plays
from drills.plays import Drill, Line
from drills.stage import ROOT, Stage

DRILLS = (*plays.DRILLS, *assault.DRILLS)


def commands() -> dict[str, list[str]]:
    """The proxies that there are, by name."""
    envoy = os.environ.get("ENVOY_BIN") or str(ROOT / ".oracle" / "bin" / "envoy")
    found = {"pyproxy": [sys.executable, "-m", "pyproxy"]}
    return {**found, "envoy": [envoy]} if os.access(envoy, os.X_OK) else found


async def play(drill: Drill, name: str, command: list[str]) -> Line:
    async with Stage(name, command, drill.route, drill.cluster, drill.regions, drill.manager) as stage:
        return await drill.play(stage)


def row(drill: Drill, name: str, line: Line) -> tuple[str, ...]:
    mark = "[green]good[/]" if line.good else "[red]poor[/]"
    return drill.name, drill.what, name, f"{line.requests:,}", f"{line.errors:,}", mark, line.notes.strip()


async def main() -> int:
    parser = argparse.ArgumentParser(prog="drills", description=__doc__)
    parser.add_argument("names", nargs="*", help="which drills; all of them where none is named")
    chosen = parser.parse_args().names
    unknown = set(chosen) - {drill.name for drill in DRILLS}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(drill.name for drill in DRILLS)}")
    table = Table("drill", "what happens", "proxy", "requests", "errors", "", "seen")
    console, fine = Console(), True
    for drill in DRILLS:
        if chosen and drill.name not in chosen:
            continue
        for name, command in commands().items():
            console.print(f"{drill.name}: {drill.what}: {name} ...", style="dim")
            line = await play(drill, name, command)
            table.add_row(*row(drill, name, line))
            fine = fine and (line.good or name != "pyproxy")
    console.print(table)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
