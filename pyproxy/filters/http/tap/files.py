"""Writes traces to files, one file for each exchange, in a thread: a slow disk holds up no request."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

from pyproxy.config.tap import FileSink, TapConfig
from pyproxy.tasks import spawn

log = logging.getLogger("pyproxy.filters.tap")

MOST_PENDING: Final = 64
"""Exchanges whose traces wait to be written; those of others are dropped."""


class TapFiles:
    """The files of one filter. What belongs to one exchange is written in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[int, list[tuple[TapConfig, FileSink, dict[str, Any]]]] = {}
        self._dropped = 0

    def write(self, tap: TapConfig, sink: FileSink, trace: dict[str, Any]) -> None:
        number = trace["id"]
        queue = self._waiting.get(number)
        if queue is not None:
            queue.append((tap, sink, trace))
            return
        if len(self._waiting) >= MOST_PENDING:
            self._dropped += 1
            if self._dropped.bit_count() == 1:  # the first, the second, the fourth: enough to be seen
                log.warning("files of taps cannot be written fast enough: %d were dropped", self._dropped)
            return
        self._waiting[number] = [(tap, sink, trace)]
        _ = spawn(self._drain(number), "tap-file")

    async def _drain(self, number: int) -> None:
        queue = self._waiting[number]
        try:
            while queue:
                pieces = tuple(queue)
                queue.clear()
                await self._loop.run_in_executor(None, _write, pieces)
        finally:
            del self._waiting[number]


def _write(pieces: tuple[tuple[TapConfig, FileSink, dict[str, Any]], ...]) -> None:
    # Imported by the first trace: no worker that records nothing pays for it.
    from pyproxy.config.tap_trace import render_trace

    for tap, sink, trace in pieces:
        path = Path(f"{sink.path_prefix}_{trace['id']}{tap.format.suffix}")
        try:
            with path.open("ab") as file:
                file.write(render_trace(trace, tap.format))
        except OSError as error:
            log.error("a trace cannot be written to %s: %s", path, error.strerror or error)
