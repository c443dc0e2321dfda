"""VHDS in the manager: virtual hosts that come to a route table by themselves, some only when a request needs them.

Envoy: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/vhds. A virtual host is called
`<route table>/<its name>`; a request for another host asks for `<route table>/<host>`, and what comes has that name
or that alias. Each table has a subscription of its own, to everything there is. In the journal all virtual hosts of a
table are one record: a table that holds nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from pyproxy.config.config_source import ConfigSourceConfig, slot_of
from pyproxy.config.descriptors import message_class
from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.resources import ResourceCompiler, ResourceType, parse
from pyproxy.server.discovery.counts import SubscriptionCounts
from pyproxy.server.discovery.demand import Demands, decided
from pyproxy.server.discovery.sources import Sources
from pyproxy.server.discovery.store import ResourceStore
from pyproxy.xds_client.subscription import WILDCARD, Subscription, Update

log = logging.getLogger("pyproxy.server.discovery")

_KIND = ResourceType.VIRTUAL_HOST


class VirtualHosts:
    """All of them, of all route tables."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sources: Sources, store: ResourceStore, compiler: ResourceCompiler
    ) -> None:
        self.loop = loop
        self.sources = sources
        self.store = store
        self.compiler = compiler
        self._tables: dict[str, FollowedHosts] = {}
        """By slot."""

    def want(self, source: ConfigSourceConfig, name: str, on_settled: Callable[[], None]) -> bool:
        """As `NamedResources.want`; `name` is that of a route table."""
        slot = slot_of(source, name)
        table = self._tables.get(slot)
        if table is None:
            self.sources.check(source)
            table = self._tables[slot] = FollowedHosts(self, source, name)
        return table.want(on_settled)

    def release(self, source: ConfigSourceConfig, name: str) -> None:
        self._tables[slot_of(source, name)].release()

    def knows(self, source: ConfigSourceConfig, name: str) -> bool:
        """Whether it is known what there is."""
        table = self._tables.get(slot_of(source, name))
        return table is not None and table.settled

    def waiting(self) -> list[str]:
        """Route tables of which the virtual hosts are waited for."""
        return [one.name for one in self._tables.values() if not one.settled]

    def demand(self, slot: str, name: str) -> asyncio.Future[bool]:
        """Ask for the virtual host of a name, of the table in a slot."""
        table = self._tables.get(slot)
        return decided(found=False) if table is None else table.demand(name)

    def counts_of(self, source: ConfigSourceConfig, name: str) -> SubscriptionCounts | None:
        table = self._tables.get(slot_of(source, name))
        return None if table is None else table.counts

    def forget(self, slot: str) -> None:
        """Nobody needs those of a table any more."""
        del self._tables[slot]
        self.store.remove(_KIND, slot)


class FollowedHosts:
    """Those of one route table. A `ResourceSink`."""

    def __init__(self, owner: VirtualHosts, source: ConfigSourceConfig, name: str) -> None:
        self.name = name
        self.settled = False
        self.counts = SubscriptionCounts()
        self._owner = owner
        self._source = source
        self._slot = slot_of(source, name)
        self._hosts: dict[str, bytes] = {}
        self._owners = 0
        self._waiting: list[Callable[[], None]] = []
        self._asked: set[str] = set()
        """Names of virtual hosts that requests have asked for."""
        self._demands = Demands()
        self._scheduled = False
        held = owner.store.get(_KIND, self._slot)
        if held is not None:  # an earlier manager knew them
            message: Any = parse(ResourceType.ROUTES, held.body)
            self._hosts = {one.name: one.SerializeToString(deterministic=True) for one in message.virtual_hosts}
            self.settled = True
        self._subscription: Subscription | None = owner.sources.subscribe(source, _KIND, self, {WILDCARD})

    def want(self, on_settled: Callable[[], None]) -> bool:
        self._owners += 1
        if not self.settled:
            self._waiting.append(on_settled)
        return self.settled

    def release(self) -> None:
        """It is forgotten in a moment, unless somebody wants it again before."""
        self._owners -= 1
        self._schedule()

    def demand(self, name: str) -> asyncio.Future[bool]:
        """`name` is `<table>/<host>`."""
        future = self._demands.of(name)
        if name not in self._asked:
            self._asked.add(name)
            self._schedule()
        return future

    # subscription.ResourceSink

    def on_update(self, update: Update) -> Mapping[str, str]:
        reasons: dict[str, str] = {}
        mine = [one for one in update.added if one.name.rpartition("/")[0] == self.name]
        hosts = dict(self._hosts)
        for resource in mine:
            try:
                self._owner.compiler.virtual_host(resource.body)
            except InvalidConfig as error:
                reasons[resource.name] = str(error)
            else:
                hosts[resource.name] = resource.body
        for gone in update.removed:
            hosts.pop(gone, None)
        reason = self._put(hosts, update.version) if hosts != self._hosts or not self.settled else ""
        if reason:
            reasons.update({one.name: reason for one in mine})
        if reasons:
            self.counts.refused()
        else:
            self.counts.accepted(update.version)
        for resource in mine:
            for name in (resource.name, *resource.aliases):
                self._decide(name, found=resource.name not in reasons)
        for gone in update.removed:
            self._decide(gone, found=False)
        self._settle()
        return reasons

    def on_missing(self, name: str) -> None:
        if name == WILDCARD:
            self._settle()
        else:
            self._decide(name, found=False)

    def _put(self, hosts: dict[str, bytes], version: str) -> str:
        """In force from now on, with those of the table itself. Gives the reason why not, empty if they are."""
        store = self._owner.store
        body = _together(self.name, hosts)
        own = store.get(ResourceType.ROUTES, self._slot)
        try:
            self._owner.compiler.routes(body if own is None else own.body + body)  # which is how protobuf merges
        except InvalidConfig as error:
            return str(error)
        self._hosts = hosts
        self.counts.reload += 1
        store.put(_KIND, self._slot, version, body)
        log.info("vhds: %r: %d virtual hosts, version %r", self.name, len(hosts), version)
        return ""

    def _decide(self, name: str, *, found: bool) -> None:
        """What is not there is asked for anew when it is needed anew."""
        if not found and name in self._asked:
            self._asked.discard(name)
            self._schedule()
        self._demands.decide(name, found=found)

    def _settle(self) -> None:
        self.settled = True
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._owner.loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._scheduled = False
        if self._subscription is None:
            return
        if self._owners:
            self._subscription.watch({WILDCARD} | self._asked)
        else:
            self._subscription.close()
            self._subscription = None
            self._owner.forget(self._slot)


def _together(name: str, hosts: Mapping[str, bytes]) -> bytes:
    """A `RouteConfiguration` that holds nothing but virtual hosts, in the order of their names."""
    table: Any = message_class(ResourceType.ROUTES.value)(name=name)
    for _, body in sorted(hosts.items()):
        table.virtual_hosts.add().MergeFromString(body)
    data: bytes = table.SerializeToString(deterministic=True)
    return data
