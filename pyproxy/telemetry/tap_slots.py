"""Where the tap filters of a worker look whether somebody has asked at the admin to record, and leave what they have
recorded until it is handed to the manager."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from pyproxy.config.tap import TapConfig

MOST_WAITING: Final = 256
"""Traces between two hand-overs; more are counted and left out."""

Trace = dict[str, Any]


class TapSlot:
    """What is recorded under one `config_id`: nothing, until somebody asks."""

    __slots__ = ("config",)

    def __init__(self) -> None:
        self.config: TapConfig | None = None


class TapSlots:
    """All of a worker."""

    def __init__(self) -> None:
        self.dropped = 0
        self._slots: dict[str, TapSlot] = {}
        self._waiting: deque[tuple[str, Trace]] = deque()

    def slot(self, config_id: str) -> TapSlot:
        """For a filter; filters of the same id share it."""
        return self._slots.setdefault(config_id, TapSlot())

    def attach(self, config_id: str, config: TapConfig | None) -> bool:
        """Begin, or (None) end. Whether there is a filter of that id."""
        slot = self._slots.get(config_id)
        if slot is None:
            return False
        slot.config = config
        return True

    def offer(self, config_id: str, trace: Trace) -> None:
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append((config_id, trace))
        else:
            self.dropped += 1

    def take(self) -> tuple[list[tuple[str, Trace]], int]:
        """What was recorded since the last call, and how many more there would have been."""
        if not self._waiting and not self.dropped:
            return [], 0
        traces, dropped = list(self._waiting), self.dropped
        self._waiting.clear()
        self.dropped = 0
        return traces, dropped
