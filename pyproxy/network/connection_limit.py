"""How many downstream connections this worker may have open."""

from __future__ import annotations

from collections.abc import Callable


class ConnectionLimit:
    """Plain counting. Envoy: envoy.resource_monitors.global_downstream_max_connections.

    `tell` is called with True when the first connection is turned away, and with False when nine tenths of the limit
    are enough again: once each, however many come meanwhile.
    """

    __slots__ = ("_tell", "full", "most", "open")

    def __init__(self, most: int, tell: Callable[[bool], None] | None = None) -> None:
        self.most = most
        self.open = 0
        self.full = False
        self._tell = tell

    def take(self) -> bool:
        """False where there are as many already."""
        if self.open >= self.most:
            if not self.full:
                self._become(full=True)
            return False
        self.open += 1
        return True

    def give_back(self) -> None:
        self.open -= 1
        if self.full and self.open * 10 <= self.most * 9:
            self._become(full=False)

    def _become(self, *, full: bool) -> None:
        self.full = full
        if self._tell is not None:
            self._tell(full)
