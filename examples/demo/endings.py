"""How examples are told to end: after some time, or by a signal."""

from __future__ import annotations

import asyncio
import signal

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def seconds(text: str) -> float:
    """`10s`, `1m` or a number of seconds."""
    scale = {"s": 1.0, "m": 60.0}.get(text[-1:], 0.0)
    return float(text[:-1]) * scale if scale else float(text)


def catch_endings() -> None:
    """Cancel the task that runs now when a signal comes. Call it in the outermost one."""
    task = asyncio.current_task()
    assert task is not None
    for number in ENDINGS:
        asyncio.get_running_loop().add_signal_handler(number, _end, task)


def _end(task: asyncio.Task[object]) -> None:
    """Clearing up is not interrupted by who cannot wait."""
    if not task.cancelling():
        task.cancel()
