"""Everything that the proxy learns while it runs: subscribes, decides what is good, and when there is enough to serve.

Lives in the manager process. The order is Envoy's: clusters with their hosts come first, then listeners with their
routes, and only then any worker accepts connections. Nothing is waited for longer than its initial_fetch_timeout.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import Any, Final, Protocol

from pyproxy.config.bootstrap import BootstrapConfig
from pyproxy.config.config_source import ConfigSourceConfig, PathSourceConfig, slot_of
from pyproxy.config.extensions import Category
from pyproxy.config.invalid import Unhonoured
from pyproxy.config.listener import ListenerConfig
from pyproxy.config.resources import ResourceCompiler, ResourceType, empty_assignment
from pyproxy.filters.builtin import EXTENSIONS
from pyproxy.server.blueprint import Blueprint
from pyproxy.server.discovery.clusters import Clusters
from pyproxy.server.discovery.extension_configs import ExtensionConfigs
from pyproxy.server.discovery.listeners import Listeners
from pyproxy.server.discovery.named import NamedResources, Need, want_all
from pyproxy.server.discovery.news import ResourceNews
from pyproxy.server.discovery.on_demand_clusters import OnDemandClusters
from pyproxy.server.discovery.publisher import AskSupervisor, Publisher
from pyproxy.server.discovery.routes import Routes
from pyproxy.server.discovery.scopes import ScopedRoutes
from pyproxy.server.discovery.sources import Sources
from pyproxy.server.discovery.store import ResourceStore
from pyproxy.server.discovery.virtual_hosts import VirtualHosts
from pyproxy.telemetry.events import Events
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.shared_reader import StatsSnapshot
from pyproxy.xds_client.node import AgentConfig
from pyproxy.xds_client.source import NoSource, XdsClient
from pyproxy.xds_client.subscription import WILDCARD

log = logging.getLogger("pyproxy.server.discovery")


DEMAND_SECONDS: Final = 5.0
"""A worker that asks for something hears after so long that it has to ask again: we may be another process by then."""


_FILTERS: Final = {
    Category.HTTP_FILTER.value: "http_filter",
    Category.NETWORK_FILTER.value: "network_filter",
    Category.LISTENER_FILTER.value: "tcp_listener_filter",
}
"""How Envoy calls them in statistics."""


class Stage(Enum):
    """What is waited for; the value says it to people."""

    VALUES = "runtime values"
    CLUSTERS = "clusters"
    LISTENERS = "listeners"
    READY = ""


class Awaited(Protocol):
    """Resources of a type, some of which may not have come yet."""

    def waiting(self) -> list[str]: ...


class Discovery:
    """`tell_workers` lets them look into the journal; `ask` puts questions to the supervisor."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        blueprint: Blueprint,
        ask: AskSupervisor,
        tell_workers: Callable[[], None],
        stats: StatsStore,
        events: Events | None = None,
    ) -> None:
        bootstrap = blueprint.bootstrap
        allow_unknown = blueprint.options.allows_unknown_dynamic_fields
        self.unhonoured: dict[tuple[ResourceType, str], tuple[Unhonoured, ...]] = {}
        """Fields of resources in force, and of those that wait, that are set and not honoured."""
        compiler = ResourceCompiler(
            EXTENSIONS,
            allow_unknown,
            check=True,
            tell=self._note_unhonoured,
            tracer=bootstrap.tracer,
            bind=bootstrap.bind,
            secrets=bootstrap.secrets,
        )
        self._loop = loop
        self._same: dict[tuple[Unhonoured, ...], tuple[Unhonoured, ...]] = {}
        self._bootstrap: BootstrapConfig = bootstrap
        self.stage = Stage.VALUES
        clusters = {cluster.name: cluster for cluster in bootstrap.clusters}
        ads, resolver = bootstrap.dynamic.ads, bootstrap.resolver
        self._client = XdsClient(loop, bootstrap.node, AgentConfig(), clusters, ads, stats, resolver)
        own = bootstrap.dynamic.cds or bootstrap.dynamic.lds
        self.sources = Sources(loop, self._client.source, allow_unknown=allow_unknown, own=own)
        news = None if events is None else ResourceNews(loop, events)
        self.store = ResourceStore(loop, blueprint.journal, tell_workers, news)
        self.endpoints = NamedResources(
            loop,
            ResourceType.ENDPOINTS,
            self.sources,
            self.store,
            lambda body: compiler.endpoints(body).stale_after,
            empty_assignment,
        )
        self.virtual_hosts = VirtualHosts(loop, self.sources, self.store, compiler)
        self.routes = Routes(loop, self.sources, self.store, compiler, self.virtual_hosts)
        self.scopes = ScopedRoutes(loop, self.sources, self.store, compiler, self.routes)
        self.layers = NamedResources(
            loop, ResourceType.RUNTIME, self.sources, self.store, partial(_check_layer, compiler)
        )
        self.secrets = NamedResources(
            loop, ResourceType.SECRET, self.sources, self.store, partial(_check_secret, compiler)
        )
        self.filters = ExtensionConfigs(loop, self.sources, self.store, compiler)
        self.clusters = Clusters(
            self.store, self.endpoints, self.secrets, compiler, bootstrap.clusters, self._on_change
        )
        self.late_clusters = OnDemandClusters(loop, self.sources, self.clusters)
        self.publisher = Publisher(
            self.store,
            blueprint.pairs.opened[0],
            ask,
            {key: blueprint.sockets.addresses[key] for key in blueprint.sockets.open},
            self._on_change,
        )
        self.listeners = Listeners(
            self.store,
            self.routes,
            self.scopes,
            self.secrets,
            self.filters,
            compiler,
            bootstrap.listeners,
            self.publisher,
            lambda: self.clusters.names,
            blueprint.workers,
            self._on_change,
        )
        self._static_waits = 0

    def _note_unhonoured(self, kind: ResourceType, name: str, found: tuple[Unhonoured, ...]) -> None:
        # Thousands of clusters leave out the same: one tuple serves them all.
        if found:
            self.unhonoured[kind, name] = self._same.setdefault(found, found)
        else:
            self.unhonoured.pop((kind, name), None)

    def unhonoured_now(self) -> list[tuple[ResourceType, str, Unhonoured]]:
        """Of the resources that there are."""
        there = {(kind, name.partition("\0")[0]) for kind in ResourceType for name in self.store.of(kind)}
        there.update((ResourceType.CLUSTER, name) for name in self.clusters.warming)
        there.update((ResourceType.LISTENER, name) for name in self.listeners.warming)
        self.unhonoured = {key: found for key, found in self.unhonoured.items() if key in there}
        return [(kind, name, one) for (kind, name), found in self.unhonoured.items() for one in found]

    def start(self) -> None:
        """Ask for runtime values first, as what is built later reads them."""
        for layer in self._bootstrap.rtds_layers:
            self._want_static(layer.name, ((self.layers, layer.source, layer.name),))
        self._on_change()

    def _start_clusters(self) -> None:
        for cluster in self._bootstrap.clusters:
            self._want_static(cluster.name, self.clusters.needs_of(cluster))
        source = self._bootstrap.dynamic.cds
        if source is None:
            self.clusters.answered = True
        else:
            self._follow(source, self._bootstrap.dynamic.cds_locator, ResourceType.CLUSTER, self.clusters)

    def _start_listeners(self) -> None:
        for listener in self._bootstrap.listeners:
            self._want_static(listener.name, self.listeners.needs_of(listener))
        lds = self._bootstrap.dynamic.lds
        if lds is None:
            self.listeners.answered = True
        else:
            self._follow(lds, self._bootstrap.dynamic.lds_locator, ResourceType.LISTENER, self.listeners)

    def close(self) -> None:
        """End the conversations with control planes."""
        self._client.close()

    def waiting_for(self) -> list[tuple[str, list[str]]]:
        """What still has to come before requests are served: (of what kind, which)."""
        found: list[tuple[str, list[str]]] = []
        if self.stage is not Stage.VALUES and not self.clusters.answered:
            found.append(("CDS", [WILDCARD]))
        if self.stage is not Stage.CLUSTERS and not self.listeners.answered:
            found.append(("LDS", [WILDCARD]))
        named: tuple[tuple[str, Awaited], ...] = (
            ("RTDS", self.layers),
            ("EDS", self.endpoints),
            ("RDS", self.routes),
            ("SRDS", self.scopes),
            ("VHDS", self.virtual_hosts),
            ("SDS", self.secrets),
            ("ECDS", self.filters),
        )
        for kind, resources in named:
            names = resources.waiting()
            if names:
                found.append((kind, names))
        return found

    def layer_values(self) -> list[tuple[int, Mapping[str, Any]]]:
        """Runtime layers that have come, with their places."""
        compiler = ResourceCompiler(EXTENSIONS, allow_unknown=True)
        found = ((one.position, slot_of(one.source, one.name)) for one in self._bootstrap.rtds_layers)
        held = ((position, self.store.get(ResourceType.RUNTIME, slot)) for position, slot in found)
        return [(position, compiler.runtime(one.body)) for position, one in held if one is not None]

    def secret_bodies(self) -> dict[str, bytes]:
        """Secrets in force, by slot."""
        return {slot: held.body for slot, held in self.store.of(ResourceType.SECRET).items()}

    def scope_names(self) -> dict[str, str]:
        """How connection managers call the scoped routes in a slot."""
        listeners = (*self._bootstrap.listeners, *self.listeners.active.values())
        found = (scoped for listener in listeners for _, scoped in listener.scopes_elsewhere)
        return {slot_of(one.source, one.locator): one.name for one in found if one.source is not None}

    def cluster_bodies(self) -> list[bytes]:
        """Clusters in force that speak TLS, or may."""
        return [one.body for one in self.store.of(ResourceType.CLUSTER).values() if b"transport_sockets" in one.body]

    def add_stats(self, snapshot: StatsSnapshot) -> None:
        """What is counted of subscriptions; streams to control planes count for themselves."""
        dynamic = self._bootstrap.dynamic
        for source, counts, prefix in (
            (dynamic.cds, self.clusters.counts, "cluster_manager.cds"),
            (dynamic.lds, self.listeners.counts, "listener_manager.lds"),
        ):
            if source is not None and isinstance(source.source, PathSourceConfig):
                counts.add_to(snapshot, prefix, reloads=counts is self.clusters.counts)
        static = ((one.stat_name, one.eds) for one in self._bootstrap.clusters if one.eds is not None)
        for name, eds in (*static, *self.clusters.followed()):
            found = self.endpoints.counts_of(eds.source, eds.service_name)
            if found is not None:
                found.add_to(snapshot, f"cluster.{name.replace(':', '_')}", empty=True)
        for listener in (*self._bootstrap.listeners, *self.listeners.active.values()):
            for prefix, rds in listener.managers_elsewhere:
                found = self.routes.counts_of(rds[0], rds[1])
                if found is not None:
                    found.add_to(snapshot, f"http.{prefix}.rds.{rds[1].replace(':', '_')}", reloads=True, empty=True)
            self._add_scopes(snapshot, listener)
            self._add_filters(snapshot, listener)

    def _add_scopes(self, snapshot: StatsSnapshot, listener: ListenerConfig) -> None:
        for prefix, scoped in listener.scopes_elsewhere:
            if scoped.source is None:
                continue
            followed = self.scopes.get(scoped.source, scoped.routes_source, scoped.locator)
            if followed is not None:
                name = f"http.{prefix}.scoped_rds.{scoped.name.replace(':', '_')}"
                followed.counts.add_to(snapshot, name, reloads=True)
                followed.add_gauges(snapshot, name)

    def _add_filters(self, snapshot: StatsSnapshot, listener: ListenerConfig) -> None:
        for one in listener.filters_elsewhere:
            found = self.filters.counts_of(one.source, one.name)
            if found is not None:
                name = f"extension_config_discovery.{_FILTERS[one.category]}.{one.name.replace(':', '_')}"
                found.add_to(snapshot, name, reloads=True)
                for what, value in (("config_fail", found.rejected), ("config_conflict", 0)):
                    snapshot.counters[f"{name}.{what}"] = value

    async def demand(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """A worker needs something that is only asked for on demand. `found` is None where it is not known yet."""
        match message["kind"]:
            case "virtual_host":
                future = self.virtual_hosts.demand(message["where"], message["name"])
            case "routes":
                future = self.scopes.demand(message["where"])
            case "cluster":
                future = self.late_clusters.demand(message["where"], message["name"])
            case kind:
                raise ValueError(f"nobody can ask for {kind!r}")
        await asyncio.wait((future,), timeout=DEMAND_SECONDS)
        self.store.flush()
        return {"found": future.result() if future.done() else None}

    def _follow(self, source: ConfigSourceConfig, locator: str, kind: ResourceType, sink: Clusters | Listeners) -> None:
        """All resources of a type, or of one collection of `xdstp://`."""
        try:
            self.sources.subscribe(source, kind, sink, {locator or WILDCARD}, sink.on_failure)
        except NoSource as error:
            log.error("%s", error)
            sink.answered = True
            return
        if source.initial_fetch_timeout:
            self._loop.call_later(source.initial_fetch_timeout, sink.give_up)

    def _want_static(self, name: str, needs: tuple[Need, ...]) -> None:
        """Of a cluster or listener of the bootstrap, which is there from the beginning."""
        try:
            self._static_waits += want_all(needs, self._on_static)
        except NoSource as error:
            log.error("%r: %s", name, error)

    def _on_static(self) -> None:
        self._static_waits -= 1
        self._on_change()

    def _on_change(self) -> None:
        """Go on to the next stage where the present one has all that it waited for."""
        if self._static_waits:
            return
        if self.stage is Stage.VALUES:
            self.stage = Stage.CLUSTERS
            self._start_clusters()
        if self._static_waits:
            return
        if self.stage is Stage.CLUSTERS and self.clusters.answered and not self.clusters.warming:
            self.stage = Stage.LISTENERS
            self._start_listeners()
        if (
            self.stage is Stage.LISTENERS
            and not self._static_waits
            and self.listeners.answered
            and not self.listeners.warming
            and not self.publisher.busy
        ):
            self.stage = Stage.READY
            self.store.be_ready()
            log.info(
                "all resources are here: %d clusters, %d listeners",
                len(self.clusters.names),
                len(self.listeners.active) + len(self._bootstrap.listeners),
            )


def _check_secret(compiler: ResourceCompiler, body: bytes) -> float:
    compiler.secret(body)
    return 0.0


def _check_layer(compiler: ResourceCompiler, body: bytes) -> float:
    compiler.runtime(body)
    return 0.0
