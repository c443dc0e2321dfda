"""How many downstream connections this worker may have open."""

from __future__ import annotations


class ConnectionLimit:
    """Plain counting. Envoy: envoy.resource_monitors.global_downstream_max_connections."""

    __slots__ = ("most", "open")

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0

    def take(self) -> bool:
        """False where there are as many already."""
        if self.open >= self.most:
            return False
        self.open += 1
        return True

    def give_back(self) -> None:
        self.open -= 1
