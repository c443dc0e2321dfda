"""Processes of pyproxy, none of which outlives who started them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
"""Seconds in which a process has to start; a busy machine takes its time."""
STOP_PATIENCE = 10.0
SPANS_AFTER = "500"
"""Milliseconds that finished spans wait for others: less than is usual, because somebody is watching."""


class NotStarted(Exception):
    """A process ended, or said nothing, and what it said before."""


class Processes:
    """Those of one example, with their files in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self.admins: dict[str, str] = {}
        """By the name of a proxy: where its admin listens."""

    async def start_proxy(self, name: str, bootstrap: Path, *words: str) -> None:
        """Its access log to stdout is in a file. `wait_for_admins` waits for it."""
        general = ["-c", str(bootstrap), "--concurrency", "1", "-l", "warning", "--drain-time-s", "1"]
        files = ["--file-flush-interval-msec", "200", "--admin-address-path", str(self._admin_file(name))]
        await self.spawn(name, [*general, *files, *words], self.access_log(name))

    async def wait_for_admins(self) -> None:
        """Of all proxies that were started. Raises NotStarted."""
        names = [name for name in self._running if self.access_log(name).exists()]
        await asyncio.wait_for(asyncio.gather(*(self._admin_of(name) for name in names)), PATIENCE)

    async def spawn(self, name: str, words: list[str], output: Path | None) -> asyncio.subprocess.Process:
        """A process group of its own, so that Ctrl-C reaches the example alone, which then ends all in order."""
        with contextlib.ExitStack() as files:
            errors = files.enter_context((self._directory / f"{name}.log").open("wb"))
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

    def access_log(self, name: str) -> Path:
        return self._directory / f"{name}.jsonl"

    def said(self, name: str) -> str:
        """The end of its log."""
        file = self._directory / f"{name}.log"
        return "\n".join(file.read_text("utf-8", "replace").splitlines()[-10:]) if file.exists() else ""

    def _admin_file(self, name: str) -> Path:
        return self._directory / f"{name}.admin"

    async def _admin_of(self, name: str) -> None:
        file, process = self._admin_file(name), self._running[name]
        while not (file.exists() and file.read_text()):
            if process.returncode is not None:
                raise NotStarted(f"{name} ended with {process.returncode}:\n{self.said(name)}")
            await asyncio.sleep(0.05)
        self.admins[name] = f"http://{file.read_text()}"


def _signal(process: asyncio.subprocess.Process, number: int, *, group: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if group:
            os.killpg(process.pid, number)
        elif process.returncode is None:
            process.send_signal(number)
