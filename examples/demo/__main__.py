"""`make demo`: a mesh of three services, each with a sidecar, a gateway and a control plane, and a live picture of it.

All runs on free ports of 127.0.0.1 and ends with the demo. `--for 20s` plays the story once and says what was seen; the
exit code is 1 if something of it did not happen.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console
from rich.live import Live

from examples.demo.endings import catch_endings, seconds
from examples.demo.mesh import Mesh
from examples.demo.processes import NotStarted
from examples.demo.story import Seen
from examples.demo.view import View

SCENE_SECONDS = 8.0
"""How long a scene takes where nobody says how long all of it is to take."""
LOOK_SECONDS = 0.5


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Mesh]:
    """A mesh that works; all of it is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="pyproxy-demo-") as directory:
        mesh = Mesh(Path(directory))
        try:
            await mesh.start()
            yield mesh
        finally:
            await mesh.stop()


async def show(mesh: Mesh, console: Console, story: asyncio.Future[None]) -> str:
    """Draw until the story is over. Gives the name of a process that ended."""
    view = View(mesh.layout, mesh.logs, mesh.watch, mesh.story, mesh.load)
    with Live(console=console, auto_refresh=False) as live:
        while not story.done() and not mesh.processes.ended():
            mesh.logs.read()
            await mesh.watch.look()
            if console.is_terminal:
                live.update(view.picture(), refresh=True)
            await asyncio.wait([story], timeout=LOOK_SECONDS)
        live.update(view.picture(), refresh=True)
    return mesh.processes.ended()


def summary(seen: Seen, mesh: Mesh) -> list[str]:
    def shares(split: object) -> str:
        return ", ".join(f"{version} {share:.0%}" for version, share in dict(split).items()) or "nothing"  # type: ignore[call-overload]

    return [
        f"split before: {shares(seen.before)}",
        f"split after: {shares(seen.after)}",
        f"ejected host: {seen.ejected or 'none'}",
        f"rotated certificates: {seen.rotated} of {len(mesh.processes.admins)} proxies",
        f"requests: {mesh.load.requests}, errors: {mesh.load.errors}",
    ]


async def demo(duration: float | None) -> int:
    """Gives the exit code."""
    console = Console()
    catch_endings()
    console.print("starting a control plane, three services and six proxies ...")
    async with running() as mesh:
        sending = asyncio.ensure_future(mesh.load.run())
        story = mesh.story.repeat(SCENE_SECONDS) if duration is None else mesh.story.play(duration)
        playing = asyncio.ensure_future(story)
        try:
            ended = await show(mesh, console, playing)
        finally:
            sending.cancel()
            playing.cancel()
            await asyncio.gather(sending, playing, return_exceptions=True)
        if ended:
            raise NotStarted(f"{ended} ended:\n{mesh.processes.said(ended)}")
        console.print()
        for line in summary(mesh.story.seen, mesh):
            console.print(line)
        if mesh.story.seen.followed is not None:
            console.print("\none request, hop by hop, the one that the host was ejected for:")
            for line in mesh.story.seen.followed.text():
                console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
        missing = mesh.story.seen.missing(len(mesh.processes.admins), mesh.load.errors)
    for text in missing:
        console.print(f"[red]did not happen as it should:[/red] {text}")
    return 1 if missing else 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--for", dest="duration", type=seconds, metavar="20s", help="play once, in about so long")
    try:
        code = asyncio.run(demo(parser.parse_args().duration))
    except asyncio.CancelledError:
        code = 0  # it was asked to end, and all is cleared away
    except (NotStarted, OSError) as error:
        sys.stderr.write(f"{error}\n")
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
