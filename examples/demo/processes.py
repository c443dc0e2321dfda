"""The processes of the mesh: the control plane, and a pyproxy for each node. None outlives the demo."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from pathlib import Path

from examples.demo.layout import LOOPBACK, NODES, Layout, Node

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
"""Seconds in which a process has to start; a busy machine takes its time."""
STOP_PATIENCE = 10.0
SPANS_AFTER = "500"
"""Milliseconds that finished spans wait for others: less than is usual, because somebody is watching."""


class NotStarted(Exception):
    """A process ended, or said nothing, and what it said before."""


class Processes:
    """All of them, started by `start` and ended by `stop`."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self.admins: dict[str, str] = {}
        """By node: where its admin listens."""
        self.plane = ""
        """Where that of the control plane does."""

    async def start(self) -> None:
        """Raises NotStarted."""
        xds = await self._start_plane()
        bootstrap = self._layout.write_bootstrap(xds)
        for node in NODES:
            await self._start_proxy(node, bootstrap)
        await asyncio.wait_for(asyncio.gather(*(self._admin_of(node) for node in NODES)), PATIENCE)

    async def stop(self) -> None:
        """Ask all to end, at once; who does not is killed with all its children."""
        for process in self._running.values():
            _signal(process, signal.SIGTERM)
        ends = [asyncio.ensure_future(process.wait()) for process in self._running.values()]
        if ends:
            await asyncio.wait(ends, timeout=STOP_PATIENCE)
        for process in self._running.values():
            _signal(process, signal.SIGKILL, group=True)
        await asyncio.gather(*ends)

    def ended(self) -> str:
        """The name of a process that should run and does not; empty if all do."""
        return next((name for name, process in self._running.items() if process.returncode is not None), "")

    def access_log(self, node: Node) -> Path:
        return self._layout.directory / f"{node.name}.jsonl"

    def said(self, name: str) -> str:
        """The end of its log."""
        file = self._layout.directory / f"{name}.log"
        return "\n".join(file.read_text("utf-8", "replace").splitlines()[-10:]) if file.exists() else ""

    async def _start_plane(self) -> int:
        words = ["control-plane", "--config", str(self._layout.file)]
        words += ["--xds", f"{LOOPBACK}:0", "--admin", f"{LOOPBACK}:0"]
        process = await self._spawn("control-plane", words, None)
        assert process.stdout is not None
        try:
            line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode()
        except TimeoutError:
            line = ""
        found = re.search(r"xds \S+:(\d+), snapshot (http://\S+)/snapshot", line)
        if found is None:
            raise NotStarted(f"the control plane did not start:\n{self.said('control-plane')}")
        self.plane = found[2]
        return int(found[1])

    async def _start_proxy(self, node: Node, bootstrap: Path) -> None:
        words = ["-c", str(bootstrap), "--service-cluster", node.service, "--service-node", node.name]
        words += ["--concurrency", "1", "--drain-time-s", "1", "-l", "warning", "--file-flush-interval-msec", "200"]
        words += ["--admin-address-path", str(self._admin_file(node))]
        await self._spawn(node.name, words, self.access_log(node))

    def _admin_file(self, node: Node) -> Path:
        return self._layout.directory / f"{node.name}.admin"

    async def _admin_of(self, node: Node) -> None:
        file, process = self._admin_file(node), self._running[node.name]
        while not (file.exists() and file.read_text()):
            if process.returncode is not None:
                raise NotStarted(f"{node.name} ended with {process.returncode}:\n{self.said(node.name)}")
            await asyncio.sleep(0.05)
        self.admins[node.name] = f"http://{file.read_text()}"

    async def _spawn(self, name: str, words: list[str], output: Path | None) -> asyncio.subprocess.Process:
        """A process group of its own, so that Ctrl-C reaches the demo alone, which then ends all in order."""
        with contextlib.ExitStack() as files:
            errors = files.enter_context((self._layout.directory / f"{name}.log").open("wb"))
            out = asyncio.subprocess.PIPE if output is None else files.enter_context(output.open("wb"))
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "pyproxy",
                *words,
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                start_new_session=True,
                env={**os.environ, "OTEL_BSP_SCHEDULE_DELAY": SPANS_AFTER},
            )
        self._running[name] = process
        return process


def _signal(process: asyncio.subprocess.Process, number: int, *, group: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if group:
            os.killpg(process.pid, number)
        elif process.returncode is None:
            process.send_signal(number)
