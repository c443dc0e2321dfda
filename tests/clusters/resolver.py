"""A resolver that answers as the test says, and a cluster that discovers with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pyproxy.clusters.discovery.resolver import Resolution, ResolutionFailed

Answer = tuple[str, ...] | Resolution | None
"""None is a failure."""


class ScriptedResolver:
    """Gives each name its answers one after the other, then the last one for ever."""

    def __init__(self, **answers: list[Answer]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []

    async def resolve(self, name: str, lookup_family: str) -> Resolution:
        self.asked.append((name, lookup_family))
        script = self.answers.get(name, [None])
        answer = script.pop(0) if len(script) > 1 else script[0]
        if answer is None:
            raise ResolutionFailed(name)
        return answer if isinstance(answer, Resolution) else Resolution(answer)

    def close(self) -> None:
        pass


async def until(condition: Callable[[], object]) -> None:
    """Wait for something to become true; the test's own timeout is the limit."""
    while not condition():
        await asyncio.sleep(0.002)
