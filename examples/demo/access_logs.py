"""Reads what the proxies write of requests, and keeps counts of all of it and the lines of the last while."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEPT_SECONDS = 60.0
WINDOW = 5.0
"""Seconds that shares and percentiles are made of."""


@dataclass(frozen=True, slots=True)
class Line:
    """One request at one listener. `read` is when it was read (monotonic seconds)."""

    read: float
    fields: dict[str, Any]

    @property
    def proxy(self) -> str:
        return str(self.fields["proxy"])

    @property
    def direction(self) -> str:
        """`gateway`, `inbound` or `outbound`."""
        return str(self.fields["listener"]).partition(":")[0]

    @property
    def failed(self) -> bool:
        status = self.fields["status"]
        return not status or status >= 500

    @property
    def trace(self) -> str:
        return str(self.fields["trace_id"] or "")


class Tail:
    """One growing file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def lines(self) -> list[str]:
        """Those that are whole and were not given yet."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data.rpartition(b"\n")[0]
        self._read += len(whole) + 1 if whole else 0
        return whole.decode("utf-8", "replace").splitlines()


class AccessLogs:
    """Of all proxies."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._tails = [Tail(path) for path in paths]
        self._kept: deque[Line] = deque()
        self.traces: dict[str, list[Line]] = {}
        """The lines of the requests whose lines are kept."""

    def read(self) -> None:
        """What is new."""
        now = time.monotonic()
        for tail in self._tails:
            for text in tail.lines():
                if text.startswith("{"):
                    self._keep(Line(now, json.loads(text)))
        while self._kept and self._kept[0].read < now - KEPT_SECONDS:
            self.traces.pop(self._kept.popleft().trace, None)

    def last(self, wanted: Callable[[Line], bool], seconds: float = WINDOW) -> list[Line]:
        """Those of the last while."""
        since = time.monotonic() - seconds
        return [line for line in self._kept if line.read >= since and wanted(line)]

    def _keep(self, line: Line) -> None:
        self._kept.append(line)
        self.traces.setdefault(line.trace, []).append(line)


def percentile(values: Iterable[float], share: float) -> float:
    """0 where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
