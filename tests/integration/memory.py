"""How much memory the processes of a proxy hold."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType


def resident(pid: int) -> int:
    """Bytes that are the process's own."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(pid)


class Peak:
    """The most that a process held while the `with` lasted, beyond what it held before."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = resident(pid)
        self._most = self._before
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self._most = max(self._most, resident(self._pid))

    @property
    def growth(self) -> int:
        self._most = max(self._most, resident(self._pid))
        return self._most - self._before
