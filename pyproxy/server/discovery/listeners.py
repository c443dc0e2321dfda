"""LDS in the manager: which listeners there are. One is in force once its sockets are open and its routes are known."""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pyproxy import clock
from pyproxy.config.invalid import Fault, InvalidConfig
from pyproxy.config.listener import ListenerConfig
from pyproxy.config.resources import ResourceCompiler, ResourceType
from pyproxy.server.discovery.extension_configs import ExtensionConfigs
from pyproxy.server.discovery.followed_type import FollowedType
from pyproxy.server.discovery.named import NamedResources, Need, release_all, want_all
from pyproxy.server.discovery.publisher import Publisher
from pyproxy.server.discovery.scopes import ScopedRoutes
from pyproxy.server.discovery.store import ResourceStore
from pyproxy.server.sockets import SocketKey, explain, open_address
from pyproxy.xds_client.source import NoSource
from pyproxy.xds_client.subscription import Resource, Update

log = logging.getLogger("pyproxy.server.discovery")

_KIND = ResourceType.LISTENER


@dataclass(slots=True)
class WarmingListener:
    """A new version that waits for its routes and certificates."""

    resource: Resource
    config: ListenerConfig
    needs: tuple[Need, ...] = ()
    missing: int = 0
    since: float = field(default_factory=clock.wall)
    replaces: list[str] = field(default_factory=list)
    """Listeners that go when this one comes, because it takes over one of their addresses."""


class Listeners(FollowedType[WarmingListener]):
    """Implements `subscription.ResourceSink`."""

    def __init__(
        self,
        store: ResourceStore,
        routes: NamedResources,
        scopes: ScopedRoutes,
        secrets: NamedResources,
        filters: ExtensionConfigs,
        compiler: ResourceCompiler,
        static: tuple[ListenerConfig, ...],
        publisher: Publisher,
        clusters: Callable[[], frozenset[str]],
        workers: int,
        on_change: Callable[[], None],
    ) -> None:
        super().__init__(on_change)
        self._store = store
        self._routes = routes
        self._scopes = scopes
        self._secrets = secrets
        self._filters = filters
        self._needs: dict[str, tuple[Need, ...]] = {}
        self._compiler = compiler
        self._static = {one.name: one for one in static}
        self._publisher = publisher
        self._clusters = clusters
        self._workers = workers
        self.active: dict[str, ListenerConfig] = {}
        self.added = len(static)
        self.modified = self.removed = self.updated_in_place = self.failed_to_create = 0
        self._doomed: set[str] = set()
        """Listeners that are gone for the source, and stay until the one that takes over their address is there."""
        self._users: dict[SocketKey, Counter[str]] = {}
        """Which listeners have a socket, in force or warming, and in how many of these ways."""
        for one in static:
            self._use(one)
        self._take_over()

    # subscription.ResourceSink

    def on_update(self, update: Update) -> Mapping[str, str]:
        reasons: dict[str, str] = {}
        before = self._news
        told: set[str] = set()
        gone = set(update.removed)
        if update.state_of_the_world:
            gone |= (self.active.keys() | self.warming.keys()) - {one.name for one in update.added}
        clusters = self._clusters()
        for resource in update.added:
            if resource.name in told:
                reasons[resource.name] = f"duplicate listener {resource.name!r}"
                continue
            told.add(resource.name)
            reason = self._accept(resource, clusters, gone)
            if reason:
                reasons[resource.name] = reason
        for name in gone:
            self._remove(name)
        if self._news > before:
            self.version = update.version
        if reasons:
            self.counts.refused()
        else:
            self.counts.accepted(update.version)
        self._settle()
        return reasons

    def _accept(self, resource: Resource, clusters: frozenset[str], gone: set[str]) -> str:
        """Gives the reason where it is refused, and else nothing."""
        name = resource.name
        if name in self._static:
            return ""  # what the bootstrap says cannot be changed (Envoy)
        held, warming = self._store.get(_KIND, name), self.warming.get(name)
        newest = warming.resource.body if warming is not None else None if held is None else held.body
        if newest == resource.body and name not in self._doomed:
            self._store.accept(_KIND, name)
            return ""  # and keeps the version that it came with (Envoy)
        try:
            waits = WarmingListener(resource, self._compiler.listener(resource.body, clusters))
            self._check_addresses(waits.config, gone, waits)
            self._begin(name, waits)
        except (InvalidConfig, NoSource) as error:
            self._store.refuse(_KIND, name, resource.version, resource.body, str(error))
            return str(error)
        self._store.accept(_KIND, name)
        return ""

    def _check_addresses(self, config: ListenerConfig, gone: set[str], waits: WarmingListener) -> None:
        """No two listeners may have one address; it can move from one that goes."""
        before = self.active.get(config.name)
        if (
            before is not None
            and before.reuse_port != config.reuse_port
            and set(before.socket_keys) & set(config.socket_keys)
        ):
            _refuse("enable_reuse_port", "cannot be changed while the listener is there (Envoy)")
        for key in config.socket_keys:
            for other in self._users.get(key, ()):
                if other == config.name:
                    continue
                if other not in gone:
                    _refuse("address", f"{key} is the address of the listener {other!r}")
                waits.replaces.append(other)
                self._doomed.add(other)

    def _open_sockets(self, config: ListenerConfig) -> None:
        """Those that are not open yet. Raises InvalidConfig."""
        for key, address in zip(config.socket_keys, config.addresses, strict=False):
            if self._publisher.has(key):
                continue
            try:
                sockets: tuple[socket.socket, ...] = open_address(config, address, self._workers)
            except OSError as error:
                self.failed_to_create += 1
                _refuse("address", explain(address, error))
            self._publisher.keep(key, sockets)

    def _begin(self, name: str, waits: WarmingListener) -> None:
        self._use(waits.config)
        try:
            self._open_sockets(waits.config)
            waits.needs = self.needs_of(waits.config)
            waits.missing = want_all(waits.needs, lambda: self._on_need(name, waits))
        except (InvalidConfig, NoSource):
            self._disuse(waits.config)
            raise
        self._news += 1
        self._doomed.discard(name)
        before = self._drop_warming(name)
        self.warming[name] = waits
        self._reconsider(before)
        if not waits.missing:
            self._activate(name, waits)

    def needs_of(self, config: ListenerConfig) -> tuple[Need, ...]:
        """What has to be here before connections are accepted: routes, certificates, configurations of filters."""
        return (
            *((self._routes, source, name) for source, name in config.routes_elsewhere),
            *(
                (self._scopes.of(scoped.routes_source), scoped.source, scoped.locator)
                for _, scoped in config.scopes_elsewhere
                if scoped.source is not None
            ),
            *((self._secrets, ref.source, ref.name) for ref in config.secrets_elsewhere),
            *((self._filters.of(one), one.source, one.name) for one in config.filters_elsewhere),
        )

    def _on_need(self, name: str, waits: WarmingListener) -> None:
        waits.missing -= 1
        if not waits.missing and self.warming.get(name) is waits:
            self._activate(name, waits)
            if self._store.news is not None:
                self._store.news.warmed(_KIND, name)
            self._on_change()

    def _activate(self, name: str, waits: WarmingListener) -> None:
        del self.warming[name]
        before = self.active.get(name)
        self.active[name] = waits.config
        if before is None:
            self.added += 1
            if self._store.news is not None:
                self._store.news.added(name, [str(address) for address in waits.config.addresses])
        else:
            self.modified += 1
            self.updated_in_place += before.socket_keys == waits.config.socket_keys
        release_all(self._needs.pop(name, ()))
        self._needs[name] = waits.needs
        resource = waits.resource
        log.info("lds: %s listener '%s'", "add" if before is None else "update", name)
        self._store.hold(_KIND, name, resource.version, resource.body)
        self._publisher.put_listener(name, resource.version, resource.body, waits.config.socket_keys)
        for other in waits.replaces:
            if other in self._doomed:  # and has not come back elsewhere
                self._remove(other, final=True)
        if before is not None:
            self._disuse(before)

    def _remove(self, name: str, *, final: bool = False) -> None:
        """One whose address moves stays until the other is there."""
        if not final and any(name in one.replaces for one in self.warming.values()):
            self._doomed.add(name)
            return
        self._doomed.discard(name)
        dropped = self._drop_warming(name)
        self._reconsider(dropped)
        before = self.active.pop(name, None)
        if before is not None or dropped is not None:
            self.removed += 1
            self._news += 1
        if before is not None:
            log.info("lds: remove listener '%s'", name)
            self._publisher.remove_listener(name)
            self._store.drop(_KIND, name)
            release_all(self._needs.pop(name, ()))
            self._disuse(before)

    def _drop_warming(self, name: str) -> WarmingListener | None:
        before = self.warming.pop(name, None)
        if before is not None:
            release_all(before.needs)
            self._disuse(before.config)
        return before

    def _reconsider(self, dropped: WarmingListener | None) -> None:
        """Listeners that were to go when another came, which does not come any more."""
        for name in () if dropped is None else dropped.replaces:
            if name in self._doomed:
                self._remove(name)

    def _use(self, config: ListenerConfig) -> None:
        for key in config.socket_keys:
            self._users.setdefault(key, Counter())[config.name] += 1

    def _disuse(self, config: ListenerConfig) -> None:
        """Sockets that no listener has any more are closed."""
        unused = []
        for key in config.socket_keys:
            users = self._users[key]
            users[config.name] -= 1
            if not users[config.name]:
                del users[config.name]
            if not users:
                del self._users[key]
                unused.append(key)
        if unused:
            self._publisher.close_sockets(unused)

    def _take_over(self) -> None:
        """Listeners that an earlier manager has accepted go on as they are."""
        for name, held in self._store.of(_KIND).items():
            config = self.active[name] = self._compiler.listener(held.body)
            self.added += 1
            self._use(config)
            needs = self._needs[name] = self.needs_of(config)
            want_all(needs, _nothing)


def _refuse(field_name: str, reason: str) -> None:
    raise InvalidConfig([Fault((field_name,), reason)])


def _nothing() -> None:
    pass
