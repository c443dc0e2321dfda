"""What is known of the resources of one type: which were accepted, who watches, what the control plane is to be told.

Resources are compared by their bytes with those that were accepted before, and only what changed reaches a sink. So
a push without a change costs no more than reading it, and what a sink is told is a difference also where the protocol
sends the state of the world.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyproxy.xds_client.protocol.messages import Heartbeat, RefusedResponse, Response
from pyproxy.xds_client.protocol.refusal import RefusalPace, refusal_text
from pyproxy.xds_client.protocol.watch import NEVER, Watch, WatchMap
from pyproxy.xds_client.subscription import WILDCARD, Resource, Update
from pyproxy.xds_client.version_hash import signed, xxh64

log = logging.getLogger("pyproxy.config")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one response is answered with. `refusal` empty means that it was accepted; not to be sent before `at`."""

    nonce: str
    refusal: str
    at: float


class TypeState(ABC):
    """One type on one stream."""

    def __init__(self, type_url: str) -> None:
        self.type_url = type_url
        self.watches: dict[Watch, None] = {}
        self.held: dict[str, Resource] = {}
        """What was accepted, by name."""
        self.bodies: dict[bytes, str] = {}
        """The names of what was accepted, by body."""
        self.refused: dict[str, str] = {}
        """Reasons by name, of what was refused and not replaced since."""
        self.version = ""
        """Of the last response that was accepted as a whole."""
        self.verdicts: deque[Verdict] = deque()
        self._map = WatchMap()
        self._pace = RefusalPace()
        self._expiry: dict[str, float] = {}
        self._late: dict[Watch, None] = {}

    # What is wanted

    def told(self) -> set[str]:
        """The names that the control plane is to be told."""
        return self._map.told()

    def changed(self, watch: Watch, before: frozenset[str], now: float) -> None:
        """The names of a watch are others than before."""
        self._map.change(watch, before)
        if watch.closed:
            self.watches.pop(watch, None)
            self._late.pop(watch, None)
        else:
            self.watches[watch] = None
            watch.wait(before, now)
            if self.held or (self.version and WILDCARD in watch.waiting):
                self._late[watch] = None
        lost = before - watch.names
        for name in list(self.held) if WILDCARD in lost or any(one.endswith("/*") for one in lost) else lost:
            if not self._map.of(name):
                self._forget(name)

    @property
    def has_late(self) -> bool:
        """Whether somebody came to watch what may be held already."""
        return bool(self._late)

    def tell_late(self) -> None:
        """Give the watches that came late what is held already: a control plane sends it only once."""
        late, self._late = self._late, {}
        for watch in late:
            if WILDCARD in watch.waiting:
                found = [one for one in self.held.values() if watch in self._map.of(one.name)]
            else:
                found = [self.held[name] for name in watch.waiting if name in self.held]
            if (found or WILDCARD in watch.waiting) and not watch.closed:
                self._tell(watch, found, [], self.version)

    # What arrives

    def receive(self, response: Response, now: float) -> None:
        """Take a response in, tell the sinks, and note what is to be answered."""
        started = time.monotonic()
        try:
            concerned, reasons = self._take(response, now)
        except RefusedResponse as error:
            refusal = str(error)
            reasons = {"": refusal}
            self._all_refused()
        else:
            refusal = refusal_text(self.type_url, reasons)
            milliseconds = int((time.monotonic() - started) * 1000)
            for watch in concerned:
                _count(watch, response.version, milliseconds, refused=not reasons.keys().isdisjoint(concerned[watch]))
        if refusal:
            level = logging.DEBUG if self._pace.repeats(reasons) else logging.WARNING
            log.log(level, "gRPC config for %s rejected: %s", self.type_url, refusal)
        else:
            self.version = response.version
        self.verdicts.append(Verdict(response.nonce, refusal, now + self._pace.seconds(reasons)))

    def expire(self, now: float) -> None:
        """Resources whose time to live is over go, as if they had been removed; waiting for names ends."""
        gone = [name for name, at in self._expiry.items() if at <= now]
        if gone:
            self._apply([], gone, self.version, now)
        for watch in list(self.watches):
            for name in [name for name, until in watch.waiting.items() if until <= now]:
                watch.stats.init_fetch_timeout.value += 1
                watch.stats.update_attempt.value += 1
                self._miss(watch, name)

    def next_expiry(self) -> float:
        """When `expire` has something to do; infinity for never."""
        waits = (min(watch.waiting.values()) for watch in self.watches if watch.waiting)
        return min(min(self._expiry.values(), default=NEVER), min(waits, default=NEVER))

    # What is sent

    @abstractmethod
    def connected(self) -> None:
        """A new stream: the control plane knows nothing of us."""

    @abstractmethod
    def wants_to_send(self, now: float) -> bool:
        """Whether there is a request that may go out now."""

    @abstractmethod
    def next_request(self, node: Any, now: float) -> bytes:
        """The next request of this type; only where there is one."""

    def next_answer(self) -> float:
        """When the next answer may go out; infinity where there is none."""
        return self.verdicts[0].at if self.verdicts else NEVER

    # Inside

    @abstractmethod
    def _take(self, response: Response, now: float) -> tuple[dict[Watch, set[str]], dict[str, str]]:
        """Tell the sinks what changed. The names by the watches that they concern, and the reasons by name.

        Raises RefusedResponse where nothing of the response can be used.
        """

    def _apply(self, arrived: Iterable[Resource], gone: Iterable[str], version: str, now: float) -> dict[str, str]:
        """Tell each watch what concerns it, and hold what was accepted. The reasons of what was not, by name."""
        changed = [one for one in arrived if self._differs(one)]
        removed = [name for name in gone if name in self.held or name in self.refused]
        news: dict[Watch, tuple[list[Resource], list[str]]] = {
            watch: ([], []) for watch in self._map.broad if not watch.waiting.keys().isdisjoint(self._map.collections)
        }
        for one in changed:
            for watch in self._map.of(one.name):
                news.setdefault(watch, ([], []))[0].append(one)
        for name in removed:
            for watch in self._map.of(name):
                news.setdefault(watch, ([], []))[1].append(name)
            self._forget(name)
        reasons: dict[str, str] = {}
        for watch, (added, lost) in news.items():
            if not watch.closed:  # an earlier sink may have closed it
                reasons.update(self._tell(watch, added, lost, version))
        for one in changed:
            if one.name in reasons:
                self.refused[one.name] = reasons[one.name]
            elif self._map.of(one.name):
                self.refused.pop(one.name, None)
                self._hold(one)
                self._live(one.name, one.ttl_seconds, now)
        return reasons

    def _differs(self, one: Resource) -> bool:
        known = self.held.get(one.name)
        return known is None or known.body != one.body or known.aliases != one.aliases or one.name in self.refused

    def _tell(self, watch: Watch, added: list[Resource], removed: list[str], version: str) -> dict[str, str]:
        for name in self._map.collections:
            watch.waiting.pop(name, None)  # be it that there is nothing in it
        for one in added:
            watch.waiting.pop(one.name, None)
            for alias in one.aliases:
                watch.waiting.pop(alias, None)
        update = Update(self.type_url, version, tuple(added), tuple(removed), state_of_the_world=False)
        return dict(watch.sink.on_update(update))

    def _concerned(self, names: Iterable[str]) -> dict[Watch, set[str]]:
        """The watches that a response concerns. What it holds unchanged is an answer to who waits for it."""
        found: dict[Watch, set[str]] = {watch: set() for watch in self._map.wide}
        for name in names:
            for watch in self._map.of(name):
                found.setdefault(watch, set()).add(name)
                if name in self.held:
                    watch.waiting.pop(name, None)
        return found

    def _all_refused(self) -> None:
        """Nobody gets an answer; as in Envoy nobody waits for one any longer."""
        for watch in list(self.watches):
            watch.stats.update_attempt.value += 1
            watch.stats.update_rejected.value += 1
            for name in list(watch.waiting):
                self._miss(watch, name)

    def _missing(self, names: Iterable[str]) -> None:
        """The control plane says that these do not exist, and we never had them."""
        for name in names:
            if name not in self.held:
                for watch in list(self._map.of(name)):
                    if name in watch.waiting:
                        self._miss(watch, name)

    def _miss(self, watch: Watch, name: str) -> None:
        if watch.waiting.pop(name, None) is not None:
            watch.sink.on_missing(name)

    def _beat(self, found: list[Resource | Heartbeat], now: float) -> list[Resource]:
        """Without the heartbeats, which prolong what is held; so does a resource that is as it was."""
        for one in found:
            known = self.held.get(one.name)
            if known is not None and (isinstance(one, Heartbeat) or known.body == one.body):
                self._live(one.name, one.ttl_seconds, now)
                if isinstance(one, Resource) and one.version != known.version:
                    self.held[one.name] = Resource(one.name, one.version, known.body, one.ttl_seconds)
        return [one for one in found if isinstance(one, Resource)]

    def _live(self, name: str, ttl: float | None, now: float) -> None:
        if ttl is None:
            self._expiry.pop(name, None)
        else:
            self._expiry[name] = now + ttl

    def _hold(self, one: Resource) -> None:
        before = self.held.get(one.name)
        if before is not None:
            self.bodies.pop(before.body, None)
        self.held[one.name] = one
        self.bodies[one.body] = one.name

    def _forget(self, name: str) -> None:
        before = self.held.pop(name, None)
        if before is not None:
            self.bodies.pop(before.body, None)
        self.refused.pop(name, None)
        self._expiry.pop(name, None)


def _count(watch: Watch, version: str, milliseconds: int, *, refused: bool) -> None:
    stats = watch.stats
    stats.update_attempt.value += 1
    if refused:
        stats.update_rejected.value += 1
        return
    stats.update_success.value += 1
    stats.update_time.value = int(time.time() * 1000)
    stats.version.value = signed(xxh64(version.encode()))
    stats.version_text.value = version
    stats.update_duration.record(milliseconds)
