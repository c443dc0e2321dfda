"""`make failover`: one proxy before three regions, two of which fail, and a live picture of where requests go.

All runs on free ports of 127.0.0.1 and ends with the example. `--for 20s` plays the story once and says what was seen;
the exit code is 1 if requests did not go where they should.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from examples.demo.access_logs import WINDOW, percentile
from examples.demo.endings import catch_endings, seconds
from examples.demo.processes import NotStarted
from examples.failover.regions import EDGE, ZONES, World
from examples.failover.story import Outcome, Story

STORY_SECONDS = 40.0
LOOK_SECONDS = 0.5
TOLD = 12


def picture(world: World, story: Story) -> RenderableType:
    table = Table(
        title=f"failover between regions: http://127.0.0.1:{world.port}",
        caption=f"{story.scene.text}\n{world.load.requests} requests, {world.load.errors} failed; Ctrl-C ends it",
        box=box.SIMPLE_HEAD,
    )
    for name in ("zone", "priority", "weight", "share", "", "p50", "hosts"):
        right = name in ("priority", "weight", "share", "p50")
        table.add_column(name, justify="right" if right else "left", min_width=10 if not name else None, no_wrap=True)
    lines = world.logs.last(lambda line: True, WINDOW)
    shares = story.shares(lines)
    for zone in ZONES:
        of_zone = [line for line in lines if world.zone_of.get(str(line.fields["upstream"])) is zone]
        hosts = Text(" ").join(
            Text(node.name, style="red strike" if world.address(node) in world.watch.ejected else "green")
            for node in zone.hosts
        )
        share = shares.get(zone.name, 0.0)
        middle = percentile((line.fields["duration_ms"] or 0 for line in of_zone), 0.5)
        words = (zone.name, str(zone.priority), str(zone.weight), f"{share:.0%}", "█" * round(share * 10))
        table.add_row(*words, f"{middle} ms" if of_zone else "", hosts)
    return Group(table, _timeline(world, story))


def _timeline(world: World, story: Story) -> Panel:
    names = {world.address(node): node.name for node in world.services}
    events = [event for event in world.watch.events if event.kind.startswith("host.")]
    happened = list(story.told)
    happened += [(event.time[11:23], f"{event.kind}: {names.get(event.subject, event.subject)}") for event in events]
    lines = Text("\n", no_wrap=True, overflow="ellipsis").join(
        Text.assemble((time, "dim"), "  ", text) for time, text in sorted(happened)[-TOLD:]
    )
    return Panel(lines, title="what just happened", height=TOLD + 2)


def told(outcome: Outcome) -> str:
    shares = ", ".join(f"{zone} {share:.0%}" for zone, share in sorted(outcome.shares.items()))
    return f"{'as it should be' if outcome.good else 'NOT AS IT SHOULD BE'}: {outcome.scene.text} ({shares})"


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[World]:
    """A world that works; all of it is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="pyproxy-failover-") as directory:
        world = World(Path(directory))
        try:
            await world.start()
            yield world
        finally:
            await world.stop()


async def show(world: World, story: Story, playing: asyncio.Future[None], console: Console) -> None:
    """Draw until the story is over."""
    with Live(console=console, auto_refresh=False) as live:
        while not playing.done() and not world.processes.ended():
            world.logs.read()
            await world.watch.look()
            if console.is_terminal:
                live.update(picture(world, story), refresh=True)
            await asyncio.wait([playing], timeout=LOOK_SECONDS)
        live.update(picture(world, story), refresh=True)


async def failover(duration: float | None) -> int:
    """Gives the exit code."""
    console = Console()
    catch_endings()
    async with running() as world:
        story = Story(world)
        sending = asyncio.ensure_future(world.load.run())
        scenes = story.repeat(STORY_SECONDS) if duration is None else story.play(duration)
        playing = asyncio.ensure_future(scenes)
        try:
            await show(world, story, playing, console)
        finally:
            sending.cancel()
            playing.cancel()
            await asyncio.gather(sending, playing, return_exceptions=True)
        if world.processes.ended():
            raise NotStarted(f"the proxy ended:\n{world.processes.said(EDGE)}")
        console.print()
        for outcome in story.outcomes:
            console.print(told(outcome), highlight=False, soft_wrap=True)
        console.print(f"requests: {world.load.requests}, errors: {world.load.errors}")
        good = all(outcome.good for outcome in story.outcomes) and not world.load.errors
    return 0 if good else 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="make failover", description=__doc__)
    parser.add_argument("--for", dest="duration", type=seconds, metavar="20s", help="play once, in about so long")
    try:
        code = asyncio.run(failover(parser.parse_args().duration))
    except asyncio.CancelledError:
        code = 0  # it was asked to end, and all is cleared away
    except (NotStarted, OSError) as error:
        sys.stderr.write(f"{error}\n")
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
