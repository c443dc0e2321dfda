"""When a dead child is started again: at once, unless it keeps dying."""

from __future__ import annotations

from dataclasses import dataclass

SHORT_LIFE = 1.0
"""Seconds. A child that lived for less says nothing about the next one living longer."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
"""The sockets of a dead worker queue connections meanwhile, so a pause must stay short."""


@dataclass(slots=True)
class RestartState:
    """What happened to one child so far. Pure: the caller tells the times."""

    restarts: int = 0
    short_lives: int = 0

    def pause_after(self, lived: float) -> float:
        """Seconds to wait before the child that lived this long is started again."""
        self.restarts += 1
        if lived >= SHORT_LIFE:
            self.short_lives = 0
            return 0.0
        self.short_lives += 1
        if self.short_lives == 1:
            return 0.0
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.short_lives - 2, 16))
