"""Who waits for which resources of a type."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from pyproxy.telemetry.xds_stats import SubscriptionStats
from pyproxy.xds_client.protocol.messages import canonical
from pyproxy.xds_client.subscription import WILDCARD, ResourceSink

_XDSTP: Final = "xdstp://"
_BELOW: Final = "/*"
NEVER: Final = float("inf")


class Watch:
    """One subscription: the names that one sink wants. `waiting` holds the names without an answer, and until when.

    `fetch_timeout` is in seconds; 0 waits for ever. A name that ends in `/*` stands for all names that begin so; only
    those of `xdstp://` are told to the control plane (as in Envoy, whose VHDS asks for everything).
    """

    __slots__ = ("_changed", "closed", "fetch_timeout", "names", "sink", "stats", "waiting")

    def __init__(
        self,
        sink: ResourceSink,
        stats: SubscriptionStats,
        fetch_timeout: float,
        changed: Callable[[Watch, frozenset[str]], None],
    ) -> None:
        self.sink = sink
        self.stats = stats
        self.fetch_timeout = fetch_timeout
        self.names: frozenset[str] = frozenset()
        self.waiting: dict[str, float] = {}
        self.closed = False
        self._changed = changed

    def watch(self, names: Iterable[str]) -> None:
        """Replace the set of names."""
        wanted, before = frozenset(canonical(name) for name in names), self.names
        if not self.closed and wanted != before:
            self.names = wanted
            self._changed(self, before)

    def close(self) -> None:
        """Nothing more is told to the sink."""
        if not self.closed:
            before, self.names = self.names, frozenset()
            self.closed = True
            self.waiting.clear()
            self._changed(self, before)

    def wait(self, before: frozenset[str], now: float) -> None:
        """Start the clock of names that were not wanted before."""
        for name in before - self.names:
            self.waiting.pop(name, None)
        until = now + self.fetch_timeout if self.fetch_timeout else NEVER
        for name in self.names - before:
            self.waiting[name] = until


class WatchMap:
    """Which watches want a name: found without looking at all of them."""

    __slots__ = ("_by_name", "_globs", "_wide")

    def __init__(self) -> None:
        self._by_name: dict[str, dict[Watch, None]] = {}
        self._wide: dict[Watch, None] = {}
        self._globs: dict[str, dict[Watch, None]] = {}

    def change(self, watch: Watch, before: frozenset[str]) -> None:
        """The names of a watch are others than before."""
        for name in before - watch.names:
            holders = self._holders(name)
            del holders[watch]
            if not holders:
                self._by_name.pop(name, None)
                self._globs.pop(name, None)
        for name in watch.names - before:
            self._holders(name)[watch] = None

    def of(self, name: str) -> dict[Watch, None]:
        """The watches that want a resource, without order."""
        found = self._by_name.get(name, {})
        if self._wide and not name.startswith(_XDSTP):
            found = {**found, **self._wide}
        for glob, watches in self._globs.items():
            if name.startswith(glob[:-1]):
                found = {**found, **watches}
        return found

    @property
    def wide(self) -> Iterable[Watch]:
        """Those that want everything there is."""
        return tuple(self._wide)

    @property
    def broad(self) -> Iterable[Watch]:
        """Those, and those that want all of a collection."""
        return {**self._wide, **{watch: None for watches in self._globs.values() for watch in watches}}

    @property
    def collections(self) -> Iterable[str]:
        """The names that stand for many."""
        return (WILDCARD, *self._globs)

    def told(self) -> set[str]:
        """The names that the control plane is told."""
        names = set(self._by_name)
        names.update(glob for glob in self._globs if glob.startswith(_XDSTP))
        if self._wide:
            names.add(WILDCARD)
        return names

    def _holders(self, name: str) -> dict[Watch, None]:
        if name == WILDCARD:
            return self._wide
        return (self._globs if name.endswith(_BELOW) else self._by_name).setdefault(name, {})
