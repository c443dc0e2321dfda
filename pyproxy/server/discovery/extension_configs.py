"""ECDS in the manager: configurations of filters that come by themselves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from pyproxy.config.config_source import ConfigSourceConfig, slot_of
from pyproxy.config.discovered import DiscoveredConfig
from pyproxy.config.extensions import Category
from pyproxy.config.resources import ResourceCompiler, ResourceType
from pyproxy.server.discovery.named import NamedResources, Wanted, settle
from pyproxy.server.discovery.sources import Sources
from pyproxy.server.discovery.store import ResourceStore

_Expected = tuple[str, tuple[str, ...]]
"""The category of a filter, and the types that its configuration may have."""


class ExtensionConfigs(NamedResources):
    """All of them. One resource may be for several filters, and has to be good for each."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sources: Sources, store: ResourceStore, compiler: ResourceCompiler
    ) -> None:
        super().__init__(loop, ResourceType.EXTENSION, sources, store, lambda body: 0.0)
        self._compiler = compiler
        self._expected: dict[str, Counter[_Expected]] = {}
        """By slot, and how many filters expect it."""

    def of(self, config: DiscoveredConfig) -> FilterNeed:
        """As what a listener needs."""
        return FilterNeed(self, config)

    def expect(self, slot: str, expected: _Expected, change: int) -> None:
        """One filter more, or less."""
        known = self._expected.setdefault(slot, Counter())
        known[expected] += change
        if not known[expected]:
            del known[expected]
        if not known:
            del self._expected[slot]

    def check(self, wanted: Wanted, body: bytes) -> float:
        for category, types in self._expected.get(wanted.slot, ()):
            self._compiler.extension(body, Category(category), types)
        return 0.0

    def refused(self, wanted: Wanted) -> None:
        """The default takes its place, and nobody waits for another (Envoy)."""
        settle(wanted)

    def removed(self, wanted: Wanted) -> None:
        self.store.remove(self.kind, wanted.slot)


class FilterNeed:
    """The configuration of one filter. Implements `named.Wantable`."""

    def __init__(self, owner: ExtensionConfigs, config: DiscoveredConfig) -> None:
        self._owner = owner
        self._config = config

    def want(self, source: ConfigSourceConfig, name: str, on_settled: Callable[[], None]) -> bool:
        """Raises NoSource."""
        config = self._config
        here = self._owner.want(source, name, _nothing if config.without_warming else on_settled)
        self._owner.expect(slot_of(source, name), (config.category, config.types), 1)
        return here or config.without_warming

    def release(self, source: ConfigSourceConfig, name: str) -> None:
        self._owner.expect(slot_of(source, name), (self._config.category, self._config.types), -1)
        self._owner.release(source, name)


def _nothing() -> None:
    pass
