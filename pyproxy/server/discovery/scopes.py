"""SRDS in the manager: which route table serves which key. A scope's table is asked for as soon as the scope is there,
or when a request needs it (`on_demand`).

In the journal all scopes of a source are one record, with a `DiscoveryResponse` that holds them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from pyproxy.config.config_source import ConfigSourceConfig, slot_of
from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.resources import ResourceCompiler, ResourceType, pack_scopes, unpack_scopes
from pyproxy.config.scoped_routes import ScopeConfig
from pyproxy.server.discovery.counts import SubscriptionCounts
from pyproxy.server.discovery.demand import decided
from pyproxy.server.discovery.named import NamedResources
from pyproxy.server.discovery.sources import Sources
from pyproxy.server.discovery.store import ResourceStore
from pyproxy.telemetry.shared_reader import StatsSnapshot
from pyproxy.xds_client.subscription import Subscription, Update

log = logging.getLogger("pyproxy.server.discovery")

_KIND = ResourceType.SCOPED_ROUTES


class ScopedRoutes:
    """All of them, of all sources."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sources: Sources,
        store: ResourceStore,
        compiler: ResourceCompiler,
        routes: NamedResources,
    ) -> None:
        self.loop = loop
        self.sources = sources
        self.store = store
        self.compiler = compiler
        self.routes = routes
        self._followed: dict[tuple[ConfigSourceConfig, ConfigSourceConfig | None, str], FollowedScopes] = {}

    def of(self, routes_source: ConfigSourceConfig | None) -> ScopesNeed:
        """As what a listener needs: scopes of which the tables come from there."""
        return ScopesNeed(self, routes_source)

    def get(
        self, source: ConfigSourceConfig, routes_source: ConfigSourceConfig | None, locator: str
    ) -> FollowedScopes | None:
        return self._followed.get((source, routes_source, locator))

    def begin(
        self, source: ConfigSourceConfig, routes_source: ConfigSourceConfig | None, locator: str
    ) -> FollowedScopes:
        """Raises NoSource."""
        self.sources.check(source)
        made = self._followed[source, routes_source, locator] = FollowedScopes(self, source, routes_source, locator)
        made.start()
        return made

    def end(self, followed: FollowedScopes, slot: str) -> None:
        """Nobody needs them any more."""
        self._followed = {key: one for key, one in self._followed.items() if one is not followed}
        if all(slot_of(source, locator) != slot for source, _, locator in self._followed):
            self.store.remove(_KIND, slot)

    def waiting(self) -> list[str]:
        return [locator for (_, _, locator), one in self._followed.items() if not one.settled]

    def demand(self, slot: str) -> asyncio.Future[bool]:
        """Ask for the routes in a slot, which are those of a scope."""
        for followed in self._followed.values():
            scope = followed.late_scope(slot)
            if scope is not None:
                return followed.demand(scope)
        return decided(found=False)


class ScopesNeed:
    """Implements `named.Wantable`; names are locators."""

    def __init__(self, owner: ScopedRoutes, routes_source: ConfigSourceConfig | None) -> None:
        self._owner = owner
        self._routes_source = routes_source

    def want(self, source: ConfigSourceConfig, name: str, on_settled: Callable[[], None]) -> bool:
        """Raises NoSource."""
        followed = self._owner.get(source, self._routes_source, name)
        if followed is None:
            followed = self._owner.begin(source, self._routes_source, name)
        return followed.want(on_settled)

    def release(self, source: ConfigSourceConfig, name: str) -> None:
        followed = self._owner.get(source, self._routes_source, name)
        if followed is not None:
            followed.release()


class FollowedScopes:
    """The scopes of one source, with tables from one source. A `ResourceSink`."""

    def __init__(
        self,
        owner: ScopedRoutes,
        source: ConfigSourceConfig,
        routes_source: ConfigSourceConfig | None,
        locator: str,
    ) -> None:
        self._owner = owner
        self._source = source
        self._routes_source = routes_source
        self._locator = locator
        self._slot = slot_of(source, locator)
        self.counts = SubscriptionCounts()
        self.scopes: dict[str, ScopeConfig] = {}
        self._bodies: dict[str, bytes] = {}
        self._demanded: set[str] = set()
        """Names of scopes on demand that were demanded."""
        self.settled = False
        self._told = False
        self._pending: dict[str, ScopeConfig] = {}
        """Scopes of which the routes are waited for."""
        self._owners = 0
        self._waiting: list[Callable[[], None]] = []
        self._subscription: Subscription | None = None

    def start(self) -> None:
        """Raises NoSource."""
        held = self._owner.store.get(_KIND, self._slot)
        if held is not None:  # an earlier manager knew them
            for body in unpack_scopes(held.body):
                scope = self._owner.compiler.scope(body)
                self.scopes[scope.name], self._bodies[scope.name] = scope, body
                self._want_routes(scope)
            self.settled = self._told = True
        self._subscription = self._owner.sources.subscribe(self._source, _KIND, self, {self._locator})
        if self._source.initial_fetch_timeout:
            self._owner.loop.call_later(self._source.initial_fetch_timeout, self._give_up)

    def want(self, on_settled: Callable[[], None]) -> bool:
        self._owners += 1
        if not self.settled:
            self._waiting.append(on_settled)
        return self.settled

    def release(self) -> None:
        self._owners -= 1
        if not self._owners:
            self._owner.loop.call_soon(self._end)

    def late_scope(self, slot: str) -> ScopeConfig | None:
        """The scope on demand of which the routes have a slot."""
        source = self._routes_source
        if source is None:
            return None
        return next(
            (one for one in self.scopes.values() if one.on_demand and slot_of(source, one.routes) == slot), None
        )

    def demand(self, scope: ScopeConfig) -> asyncio.Future[bool]:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        source, slot = self._routes_source, self._routes_slot(scope)

        def decide() -> None:
            if not future.done():
                future.set_result(self._owner.store.get(ResourceType.ROUTES, slot) is not None)

        if source is None:
            future.set_result(False)
        elif scope.name in self._demanded:
            if self._owner.routes.want(source, scope.routes, decide):
                decide()
            self._owner.routes.release(source, scope.routes)  # it has an owner already, this was to be called
        else:
            self._demanded.add(scope.name)
            if self._owner.routes.want(source, scope.routes, decide):
                decide()
        return future

    def add_gauges(self, snapshot: StatsSnapshot, prefix: str) -> None:
        """As Envoy counts scopes."""
        late = sum(one.on_demand for one in self.scopes.values())
        active = len(self.scopes) - late + len(self._demanded)
        for name, value in (("all_scopes", len(self.scopes)), ("on_demand_scopes", late), ("active_scopes", active)):
            snapshot.gauges[f"{prefix}.{name}"] = value
            snapshot.used.add(f"{prefix}.{name}")

    # subscription.ResourceSink

    def on_update(self, update: Update) -> Mapping[str, str]:
        reasons: dict[str, str] = {}
        gone = set(update.removed)
        if update.state_of_the_world:
            gone |= self.scopes.keys() - {one.name for one in update.added}
        for name in gone:
            self._remove(name)
        for resource in update.added:
            reason = self._accept(resource.name, resource.body)
            if reason:
                reasons[resource.name] = reason
        if reasons:
            self.counts.refused()
        else:
            self.counts.reload += 1
            self.counts.accepted(update.version)
        self._owner.store.put(_KIND, self._slot, update.version, pack_scopes(self._bodies.values()))
        self._told = True
        self._consider()
        return reasons

    def on_missing(self, name: str) -> None:
        self._told = True
        self._consider()

    def _accept(self, name: str, body: bytes) -> str:
        if self._bodies.get(name) == body:
            return ""
        try:
            scope = self._owner.compiler.scope(body)
        except InvalidConfig as error:
            return str(error)
        other = next((one for one in self.scopes.values() if one.key == scope.key and one.name != scope.name), None)
        if other is not None:
            return f"scope key conflict found, first scope is '{other.name}', second scope is '{scope.name}'"
        if scope.routes and self._routes_source is None:
            return "route_configuration_name: needs scoped_routes.rds_config_source"
        before = self.scopes.get(name)
        self.scopes[name], self._bodies[name] = scope, body
        self._want_routes(scope)
        if before is not None:
            self._release_routes(before)
        return ""

    def _remove(self, name: str) -> None:
        scope = self.scopes.pop(name, None)
        self._bodies.pop(name, None)
        if scope is not None:
            self._pending.pop(name, None)
            self._release_routes(scope)
            self._demanded.discard(name)

    def _want_routes(self, scope: ScopeConfig) -> None:
        if scope.routes and self._routes_source is not None and (not scope.on_demand or scope.name in self._demanded):
            self._pending.pop(scope.name, None)
            if not self._owner.routes.want(self._routes_source, scope.routes, lambda: self._on_routes(scope)):
                self._pending[scope.name] = scope

    def _release_routes(self, scope: ScopeConfig) -> None:
        if scope.routes and self._routes_source is not None and (not scope.on_demand or scope.name in self._demanded):
            self._owner.routes.release(self._routes_source, scope.routes)

    def _on_routes(self, scope: ScopeConfig) -> None:
        if self._pending.get(scope.name) is scope:
            del self._pending[scope.name]
            self._consider()

    def _give_up(self) -> None:
        if not self._told:
            self.counts.fetch_timeout += 1
            self._told = True
            self._consider()

    def _consider(self) -> None:
        if self._told and not self._pending and not self.settled:
            self.settled = True
            waiting, self._waiting = self._waiting, []
            for callback in waiting:
                callback()

    def _routes_slot(self, scope: ScopeConfig) -> str:
        return "" if self._routes_source is None else slot_of(self._routes_source, scope.routes)

    def _end(self) -> None:
        """Nobody needs them any more."""
        if self._owners or self._subscription is None:
            return
        self._subscription.close()
        self._subscription = None
        for name in list(self.scopes):
            self._remove(name)
        self._owner.end(self, self._slot)
