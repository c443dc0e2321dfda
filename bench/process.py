"""A child process of the harness: pinned to one CPU, dies with the harness, is read through its CPU clock and /proc."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

READY_SECONDS = 120.0
STOP_SECONDS = 5.0


class ProcessFailed(Exception):
    """A child did not start, or did not live as long as it was needed."""


def leashed(argv: Sequence[str], cpu: int) -> list[str]:
    """The command pinned to a CPU, and killed when the harness ends, however it ends.

    The shell asks for its parent once the kernel's promise holds: the harness may have died just before.
    """
    alive = '[ "$PPID" = "$0" ] && exec "$@"'
    pinned = ["taskset", "-c", str(cpu), *argv]
    return ["setpriv", "--pdeathsig", "KILL", "sh", "-c", alive, str(os.getpid()), *pinned]


class Child:
    """One command in a session of its own; `stop` ends everything it started."""

    def __init__(
        self, argv: Sequence[str], cpu: int, log: Path, stdout: Path | None = None, env: Mapping[str, str] = {}
    ) -> None:
        self.log = log
        with log.open("ab") as errors, (stdout or log).open("ab") as output:
            self._process = subprocess.Popen(
                leashed(argv, cpu),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                env={**os.environ, **env},
            )
        self.pid = self._process.pid

    def check(self) -> None:
        """Raise, with the end of its log, if the process is gone."""
        if self._process.poll() is not None:
            lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines()]
            words = [line for line in lines if line.strip("^~ ")]
            raise ProcessFailed(f"exit status {self._process.returncode}: {' | '.join(words[-2:]) or 'no output'}")

    def stop(self) -> None:
        """End the whole process group, politely first."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                break
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for parent in found:
        for thread in threads(parent):
            with contextlib.suppress(OSError):  # the thread ended since it was listed
                found += map(int, Path(f"/proc/{parent}/task/{thread}/children").read_text().split())
    return found


def name(pid: int) -> str:
    """The short name that a process shows."""
    return Path(f"/proc/{pid}/comm").read_text().strip()


def threads(pid: int) -> list[int]:
    """The thread ids of a process; the first is the main thread and equals the process id."""
    return sorted(map(int, os.listdir(f"/proc/{pid}/task")))


def process_ns(pid: int) -> int:
    """CPU time of all threads of a process, those that ended included, exact to the nanosecond.

    The clock id is how Linux encodes "the scheduler's clock of this pid" (clock_getcpuclockid(3)).
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


def thread_ns(pid: int, thread: int) -> int:
    """CPU time of one thread: the same scheduler clock, which has no clock id for another process's thread."""
    return int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])


def memory_kb(pid: int) -> dict[str, int]:
    """Rss, Pss and Private_Dirty of a process."""
    wanted = {"Rss:": "rss", "Pss:": "pss", "Private_Dirty:": "private_dirty"}
    rows = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return {wanted[row[0]]: int(row[1]) for row in rows if row[0] in wanted}
