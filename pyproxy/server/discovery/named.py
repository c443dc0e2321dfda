"""Resources that are asked for by name, because others need them: hosts (EDS), routes (RDS), certificates (SDS).

Who needs one says so with `want`, and is called when it has come, or when there is none: a source that does not
have it, or that has not answered within its initial_fetch_timeout.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pyproxy.config.config_source import ConfigSourceConfig, slot_of
from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.resources import ResourceType
from pyproxy.server.discovery.counts import SubscriptionCounts
from pyproxy.server.discovery.sources import Sources
from pyproxy.server.discovery.store import ResourceStore
from pyproxy.xds_client.source import NoSource
from pyproxy.xds_client.subscription import Resource, Subscription, Update

log = logging.getLogger("pyproxy.server.discovery")

Callback = Callable[[], None]
Check = Callable[[bytes], float]
"""Compiles one, and gives the seconds that it holds; 0: for ever. Raises InvalidConfig."""


@dataclass(slots=True)
class Wanted:
    """One resource that somebody needs."""

    name: str
    slot: str
    owners: int = 0
    settled: bool = False
    waiting: list[Callback] = field(default_factory=list)
    counts: SubscriptionCounts = field(default_factory=SubscriptionCounts)
    stale: asyncio.TimerHandle | None = None


class NamedResources:
    """All resources of one type.

    `stale_body` gives what takes the place of one that was not renewed in time (endpoint_stale_after).
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        kind: ResourceType,
        sources: Sources,
        store: ResourceStore,
        check: Check,
        stale_body: Callable[[str], bytes] | None = None,
    ) -> None:
        self.kind = kind
        self.loop = loop
        self.sources = sources
        self.store = store
        self._check = check
        self._stale_body = stale_body
        self._followed: dict[ConfigSourceConfig, FollowedSource] = {}

    def want(self, source: ConfigSourceConfig, name: str, on_settled: Callback) -> bool:
        """Whether it is known already what there is; if not, `on_settled` is called as soon as it is.

        Raises NoSource.
        """
        followed = self._followed.get(source)
        if followed is None:
            self.sources.check(source)
            followed = self._followed[source] = FollowedSource(self, source)
        return followed.want(name, on_settled)

    def release(self, source: ConfigSourceConfig, name: str) -> None:
        """One owner less. What nobody needs is forgotten."""
        self._followed[source].release(name)

    def counts_of(self, source: ConfigSourceConfig, name: str) -> SubscriptionCounts | None:
        followed = self._followed.get(source)
        wanted = None if followed is None else followed.wanted.get(name)
        return None if wanted is None else wanted.counts

    def waiting(self) -> list[str]:
        """Names of those that are waited for."""
        return [one.name for each in self._followed.values() for one in each.wanted.values() if not one.settled]

    def take(self, wanted: Wanted, resource: Resource) -> str:
        """Put one into force. Gives the reason why not, empty if it was."""
        held = self.store.get(self.kind, wanted.slot)
        if held is not None and held.body == resource.body and wanted.stale is None:
            self.store.accept(self.kind, wanted.slot)
            return ""
        try:
            seconds = self.check(wanted, resource.body)
        except InvalidConfig as error:
            reason = str(error)
            self.store.refuse(self.kind, wanted.slot, resource.version, resource.body, reason)
            return reason
        self.store.accept(self.kind, wanted.slot)
        if held is None or held.body != resource.body:
            wanted.counts.reload += 1
            self.store.put(self.kind, wanted.slot, resource.version, resource.body)
        self._mind_age(wanted, seconds)
        return ""

    def check(self, wanted: Wanted, body: bytes) -> float:
        """The seconds that one holds; 0: for ever. Raises InvalidConfig."""
        del wanted
        return self._check(body)

    def refused(self, wanted: Wanted) -> None:
        """One was not accepted."""

    def removed(self, wanted: Wanted) -> None:
        """The source says that there is none any more. Neither hosts nor routes go therefore (Envoy ignores it)."""

    def settle(self, wanted: Wanted, resource: Resource) -> None:
        """One has come and is good: who waits for it can go on."""
        del resource
        settle(wanted)

    def resume(self, wanted: Wanted, body: bytes) -> None:
        """One that an earlier manager has put into force is wanted again."""

    def _mind_age(self, wanted: Wanted, seconds: float) -> None:
        if wanted.stale is not None:
            wanted.stale.cancel()
            wanted.stale = None
        if seconds:
            wanted.stale = self.loop.call_later(seconds, self._grow_stale, wanted)

    def _grow_stale(self, wanted: Wanted) -> None:
        wanted.stale = None
        if self._stale_body is not None:
            log.info("%s %r was not renewed in time", self.kind.value, wanted.name)
            self.store.put(self.kind, wanted.slot, wanted.counts.version, self._stale_body(wanted.name))

    def forget(self, wanted: Wanted) -> None:
        """Nobody needs it any more."""
        if wanted.stale is not None:
            wanted.stale.cancel()
        self.store.remove(self.kind, wanted.slot)


class FollowedSource:
    """The names of one source. A `ResourceSink`."""

    def __init__(self, owner: NamedResources, source: ConfigSourceConfig) -> None:
        self.wanted: dict[str, Wanted] = {}
        self._owner = owner
        self._source = source
        self._subscription: Subscription | None = None
        self._fresh: list[Wanted] = []
        self._unwanted: list[Wanted] = []
        self._scheduled = False

    def want(self, name: str, on_settled: Callback) -> bool:
        wanted = self.wanted.get(name)
        if wanted is None:
            wanted = self.wanted[name] = Wanted(name, slot_of(self._source, name))
            # What an earlier manager knew is good enough to go on with.
            held = self._owner.store.get(self._owner.kind, wanted.slot)
            if held is not None:
                wanted.settled = True
                self._owner.resume(wanted, held.body)
            self._fresh.append(wanted)
            self._schedule()
        wanted.owners += 1
        if not wanted.settled:
            wanted.waiting.append(on_settled)
        return wanted.settled

    def release(self, name: str) -> None:
        """It is forgotten in a moment, unless somebody wants it again before: the source would not send it anew."""
        wanted = self.wanted[name]
        wanted.owners -= 1
        if not wanted.owners:
            self._unwanted.append(wanted)
            self._schedule()

    # subscription.ResourceSink

    def on_update(self, update: Update) -> Mapping[str, str]:
        reasons: dict[str, str] = {}
        settled: list[tuple[Wanted, Resource]] = []
        for resource in update.added:
            wanted = self.wanted.get(resource.name)
            if wanted is None:
                continue
            reason = self._owner.take(wanted, resource)
            if reason:
                reasons[resource.name] = reason
                wanted.counts.refused()
                self._owner.refused(wanted)
            else:
                wanted.counts.accepted(resource.version or update.version)
                settled.append((wanted, resource))
        for gone in filter(None, (self.wanted.get(name) for name in update.removed)):
            self._owner.removed(gone)
        for wanted, resource in settled:
            self._owner.settle(wanted, resource)
        return reasons

    def on_missing(self, name: str) -> None:
        for wanted in list(self.wanted.values()) if name == "*" else filter(None, (self.wanted.get(name),)):
            if not wanted.settled:
                wanted.counts.empty += 1
                settle(wanted)

    def _schedule(self) -> None:
        """Many are wanted and released at once: the source is told once."""
        if not self._scheduled:
            self._scheduled = True
            self._owner.loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._scheduled = False
        unwanted, self._unwanted = self._unwanted, []
        for one in unwanted:
            if not one.owners and self.wanted.get(one.name) is one:
                del self.wanted[one.name]
                self._owner.forget(one)
        fresh, self._fresh = self._fresh, []
        names = set(self.wanted)
        if self._subscription is None:
            if names:
                sources, kind = self._owner.sources, self._owner.kind
                self._subscription = sources.subscribe(self._source, kind, self, names, self._on_failure)
        else:
            self._subscription.watch(names)
        seconds = self._source.initial_fetch_timeout
        if fresh and seconds:
            self._owner.loop.call_later(seconds, self._give_up, fresh)

    def _give_up(self, wanted: list[Wanted]) -> None:
        for one in wanted:
            if not one.settled and self.wanted.get(one.name) is one:
                one.counts.fetch_timeout += 1
                settle(one)

    def _on_failure(self, type_url: str, reason: str) -> None:
        for wanted in self.wanted.values():
            wanted.counts.failed()


def settle(wanted: Wanted) -> None:
    """It is known what there is."""
    wanted.settled = True
    waiting, wanted.waiting = wanted.waiting, []
    for callback in waiting:
        callback()


class Wantable(Protocol):
    """Resources of a type, as `NamedResources`."""

    def want(self, source: ConfigSourceConfig, name: str, on_settled: Callback) -> bool: ...
    def release(self, source: ConfigSourceConfig, name: str) -> None: ...


Need = tuple[Wantable, ConfigSourceConfig, str]
"""A resource that a cluster or listener cannot do without."""


def want_all(needs: Iterable[Need], on_settled: Callback) -> int:
    """How many are not known yet. Raises NoSource, and then none of them is wanted."""
    begun: list[Need] = []
    missing = 0
    try:
        for need in needs:
            resources, source, name = need
            missing += not resources.want(source, name, on_settled)
            begun.append(need)
    except NoSource:
        release_all(begun)
        raise
    return missing


def release_all(needs: Iterable[Need]) -> None:
    for resources, source, name in needs:
        resources.release(source, name)
