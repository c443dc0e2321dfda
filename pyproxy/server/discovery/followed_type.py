"""What clusters and listeners have in common while they are learnt: new versions that wait, and what was counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from pyproxy.server.discovery.counts import SubscriptionCounts
from pyproxy.server.discovery.store import Held
from pyproxy.xds_client.subscription import Resource


class Warming(Protocol):
    """A new version that waits for what it needs."""

    @property
    def resource(self) -> Resource: ...

    @property
    def since(self) -> float: ...


W = TypeVar("W", bound=Warming)


class FollowedType(Generic[W]):
    """Half of a `subscription.ResourceSink`; a subclass has the `on_update`. `on_change` is called after each step."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self.warming: dict[str, W] = {}
        self.counts = SubscriptionCounts()
        self.version = ""
        """Of the last update that brought something new."""
        self._news = 0
        self.answered = False
        """Whether the source has said anything yet, or never will."""

    def waiting(self) -> dict[str, Held]:
        """What is not in force yet, by name."""
        return {name: Held(one.resource.version, one.resource.body, one.since) for name, one in self.warming.items()}

    def on_missing(self, name: str) -> None:
        self._settle()

    def on_failure(self, type_url: str, reason: str) -> None:
        self.counts.failed()

    def give_up(self) -> None:
        """The source has not answered in time."""
        if not self.answered:
            self.counts.fetch_timeout += 1
            self._settle()

    def _settle(self) -> None:
        self.answered = True
        self._on_change()
