"""What a worker has for collectors: finished spans and log entries on their way to the manager, which sends them.

A request appends to a list and no more. Lists are handed over a few times a second, in pieces that fit the channel.
What nobody takes is dropped and counted: a collector that is gone costs a counter and no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pyproxy.config.export import ExportTarget
from pyproxy.telemetry.events import EventOutbox
from pyproxy.telemetry.live_tap import LiveTap
from pyproxy.telemetry.tap_slots import TapSlots

MOST_WAITING: Final = 8192
"""Items that one collector may have waiting in a worker between two hand-overs."""
PIECE: Final = 256
"""Items in one message to the manager."""

Item = dict[str, Any]


class ExportPipe:
    """What goes to one collector."""

    __slots__ = ("_items", "dropped", "target")

    def __init__(self, target: ExportTarget) -> None:
        self.target = target
        self.dropped = 0
        self._items: list[Item] = []

    def append(self, item: Item) -> None:
        if len(self._items) < MOST_WAITING:
            self._items.append(item)
        else:
            self.dropped += 1

    def take(self) -> tuple[list[Item], int]:
        """What came since the last call, and how many more there would have been."""
        items, self._items = self._items, []
        dropped, self.dropped = self.dropped, 0
        return items, dropped


class Exports:
    """All the pipes of a worker; equal targets share one."""

    def __init__(self, events: EventOutbox | None = None) -> None:
        self.events = EventOutbox() if events is None else events
        """What happened to the worker itself."""
        self.tap = LiveTap()
        """What somebody watches."""
        self.taps = TapSlots()
        """What tap filters record for the admin."""
        self._pipes: dict[ExportTarget, ExportPipe] = {}

    def pipe(self, target: ExportTarget) -> ExportPipe:
        found = self._pipes.get(target)
        if found is None:
            found = self._pipes[target] = ExportPipe(target)
        return found

    def take(self) -> Iterator[tuple[ExportTarget, list[Item], int]]:
        """(target, items, how many were dropped), in pieces."""
        for pipe in self._pipes.values():
            items, dropped = pipe.take()
            for at in range(0, len(items), PIECE):
                yield pipe.target, items[at : at + PIECE], dropped
                dropped = 0
            if dropped:
                yield pipe.target, [], dropped

    def lost(self, target: ExportTarget, items: int) -> None:
        """The manager did not take them; it is told so next time."""
        self.pipe(target).dropped += items
