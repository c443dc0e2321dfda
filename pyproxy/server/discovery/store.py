"""The resources that are in force, as the manager knows them; all that changes is written into the journal.

Only bytes are kept: what a resource means is compiled again by whoever wants to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pyproxy import clock
from pyproxy.config.resources import ResourceType
from pyproxy.server.discovery.journal import Journal, JournalReader, JournalWriter, Operation, Record
from pyproxy.server.discovery.news import ResourceNews

_OVERHEAD = 64


@dataclass(slots=True)
class Held:
    """One resource in force. `updated` is seconds since 1970."""

    version: str
    body: bytes
    updated: float
    resolves: bool = False

    def size(self, name: str) -> int:
        return len(self.body) + len(name) + len(self.version) + _OVERHEAD


@dataclass(slots=True)
class Refusal:
    """The last version of a resource that was not accepted (envoy.admin.v3.UpdateFailureState)."""

    version: str
    body: bytes
    reason: str
    when: float


class ResourceStore:
    """Kind -> name -> resource. `on_change` is called some moments after changes, once they are in the journal."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        journal: Journal,
        on_change: Callable[[], None],
        news: ResourceNews | None = None,
    ) -> None:
        """`news` tells people what changes."""
        self._loop = loop
        self.news = news
        self._writer = JournalWriter(journal)
        self._on_change = on_change
        self._held: dict[ResourceType, dict[str, Held]] = {kind: {} for kind in ResourceType}
        self.refused: dict[ResourceType, dict[str, Refusal]] = {kind: {} for kind in ResourceType}
        self.ready = False
        """Whether the workers were told that there is enough to serve."""
        self._live = 0
        self._pending: list[Record] = []
        self._take_over(journal)

    def of(self, kind: ResourceType) -> dict[str, Held]:
        """All resources of a type, by name. To be looked at only."""
        return self._held[kind]

    def get(self, kind: ResourceType, name: str) -> Held | None:
        return self._held[kind].get(name)

    def put(self, kind: ResourceType, name: str, version: str, body: bytes, *, resolves: bool = False) -> None:
        """In force from now on."""
        held = self.hold(kind, name, version, body, resolves=resolves)
        self.write(Record(Operation.PUT, kind, name, version, body, held.updated, resolves))

    def remove(self, kind: ResourceType, name: str) -> None:
        if self.drop(kind, name):
            self.write(Record(Operation.REMOVE, kind, name))

    def hold(self, kind: ResourceType, name: str, version: str, body: bytes, *, resolves: bool = False) -> Held:
        """As `put`, and whoever calls writes it down in a moment."""
        self._forget(kind, name)
        held = self._held[kind][name] = Held(version, body, clock.wall(), resolves)
        self._live += held.size(name)
        if self.news is not None:
            self.news.applied(kind, name, version)
        return held

    def drop(self, kind: ResourceType, name: str) -> bool:
        """As `remove`, and whoever calls writes it down in a moment. Whether it was there."""
        self.refused[kind].pop(name, None)
        was_there = self._forget(kind, name)
        if was_there and self.news is not None:
            self.news.removed(kind, name)
        return was_there

    def refuse(self, kind: ResourceType, name: str, version: str, body: bytes, reason: str) -> None:
        """What is in force stays, and this is told to who asks."""
        self.refused[kind][name] = Refusal(version, body, reason, clock.wall())
        if self.news is not None:
            self.news.rejected(kind, name, version, reason)

    def accept(self, kind: ResourceType, name: str) -> None:
        """The last version of it is good."""
        self.refused[kind].pop(name, None)

    def be_ready(self) -> None:
        if not self.ready:
            self.ready = True
            self.write(Record(Operation.READY))

    def flush(self) -> None:
        """Let the workers see what has changed."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        if self._writer.wasteful(self._live):
            self._writer.rewrite(self._present())
        else:
            self._writer.append(pending)
        self._on_change()

    def write(self, record: Record) -> None:
        if not self._pending:
            self._loop.call_soon(self.flush)
        self._pending.append(record)

    def _forget(self, kind: ResourceType, name: str) -> bool:
        held = self._held[kind].pop(name, None)
        if held is not None:
            self._live -= held.size(name)
        return held is not None

    def _present(self) -> Iterator[Record]:
        for kind, resources in self._held.items():
            for name, held in resources.items():
                yield Record(Operation.PUT, kind, name, held.version, held.body, held.updated, held.resolves)
        if self.ready:
            yield Record(Operation.READY)

    def _take_over(self, journal: Journal) -> None:
        """What an earlier manager had accepted is in force."""
        reader = JournalReader(journal)
        while records := reader.read():
            for record in records:
                match record.operation:
                    case Operation.PUT:
                        held = Held(record.version, record.body, record.updated, record.resolves)
                        self._forget(record.kind, record.name)
                        self._held[record.kind][record.name] = held
                        self._live += held.size(record.name)
                    case Operation.REMOVE:
                        self._forget(record.kind, record.name)
                    case Operation.READY:
                        self.ready = True
                    case Operation.WHOLE:
                        pass
