"""Statistics as the manager sees them: those of all processes, merged, and what only it knows (`server.`, ...)."""

from __future__ import annotations

import re
from collections.abc import Callable

from pyproxy.config.resources import ResourceType
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.server.proxy import Proxy
from pyproxy.server.server_state import ServerState
from pyproxy.server.watchdog import Watchdog
from pyproxy.telemetry.cluster_stats import ClusterManagerStats
from pyproxy.telemetry.exemplars import Exemplars
from pyproxy.telemetry.listener_stats import ListenerManagerStats
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.server_stats import RuntimeStats, ServerStats, WatchdogStats
from pyproxy.telemetry.shared_reader import StatsReader, StatsSnapshot
from pyproxy.telemetry.stat_tags import TagExtractor
from pyproxy.telemetry.stats_rules import StatsRules
from pyproxy.telemetry.stats_view import StatsView

_ACTIVE_CONNECTIONS = re.compile(r"listener\.[^.]+(?:\.[0-9]+)*_[0-9]+\.downstream_cx_active")
NO_CERTIFICATE = 4294967295
"""What Envoy shows in `days_until_first_cert_expiring` when there is no certificate."""


class ManagerStats:
    """`snapshot()` is what `/stats` shows."""

    def __init__(self, proxy: Proxy) -> None:
        areas = proxy.blueprint.stats_areas
        self._proxy = proxy
        self.store = StatsStore(areas.manager)
        config = proxy.blueprint.bootstrap.stats
        rules = StatsRules(config.matcher, config.buckets)
        self._view = StatsView(StatsReader((*areas.workers, areas.manager)), rules)
        self.exemplars = Exemplars()
        self.on_flush: Callable[[], None] | None = None
        """Called at each end of an interval."""
        self._interval_left = proxy.blueprint.bootstrap.stats.flush_interval
        self.tags = TagExtractor(config.tags, config.tag_rules, defaults=config.default_tags)
        self._server = ServerStats(self.store)
        self._runtime = RuntimeStats(self.store)
        self._listeners = ListenerManagerStats(self.store)
        self._clusters = ClusterManagerStats(self.store)
        own, total = WatchdogStats(self.store, "main_thread"), self.store.scope("main_thread")
        self._watchdog = Watchdog(
            (own.watchdog_miss, total.counter("watchdog_miss")),
            (own.watchdog_mega_miss, total.counter("watchdog_mega_miss")),
        )
        self._state_when_started()

    def tick(self, interval: float) -> None:
        """Publish; call every `interval` seconds."""
        self._watchdog.tick(interval)
        self._refresh()
        self._interval_left -= interval
        if self._interval_left <= 0:
            self._interval_left = self._proxy.blueprint.bootstrap.stats.flush_interval
            self._view.tick()
            if self.on_flush is not None:
                self.on_flush()

    def snapshot(self, *, unused: bool) -> StatsSnapshot:
        """All statistics now. `unused`: also those that could be but never were."""
        self._measure_memory()
        self._refresh()
        snapshot = self._view.snapshot(unused=unused)
        snapshot.gauges["server.total_connections"] = sum(
            value for name, value in snapshot.gauges.items() if _ACTIVE_CONNECTIONS.fullmatch(name)
        )
        if self._proxy.discovery is not None:
            self._proxy.discovery.add_stats(snapshot)
        return snapshot

    def tell_days_left(self, days: int | None) -> None:
        """How long the first certificate to end is valid."""
        self._server.days_until_first_cert_expiring.value = NO_CERTIFICATE if days is None else days

    def reset_counters(self) -> None:
        """Show counters from zero again; what the workers hold is left alone."""
        self._view.reset_counters()

    def _state_when_started(self) -> None:
        """What does not change while the proxy lives."""
        blueprint = self._proxy.blueprint
        server = self._server
        server.concurrency.value = blueprint.workers
        server.days_until_first_cert_expiring.value = NO_CERTIFICATE
        server.hot_restart_epoch.value = blueprint.options.restart_epoch
        server.hot_restart_generation.value = 1
        server.parent_connections.value = 0
        values = RuntimeValues(blueprint.bootstrap.runtime_layers)
        self._runtime.num_keys.value = len(values.as_mapping())
        self._runtime.num_layers.value = len(blueprint.bootstrap.runtime_layers)
        self._runtime.load_success.value = self._runtime.override_dir_not_exists.value = 1

    def _measure_memory(self) -> None:
        """Costs a few milliseconds of reading /proc, so it is done for a scrape and not at every tick."""
        processes = self._proxy.memory()
        self._server.memory_allocated.value = sum(process.private for process in processes)
        self._server.memory_heap_size.value = sum(process.anonymous for process in processes)
        self._server.memory_physical_size.value = sum(process.pss for process in processes)

    def _refresh(self) -> None:
        proxy = self._proxy
        server = self._server
        state = proxy.known_state()
        server.live.value = int(state is ServerState.LIVE)
        server.state.value = state.value
        server.uptime.value = int(proxy.uptime)
        server.worker_restarts.value = proxy.restarts
        self._count_resources()
        if state is ServerState.LIVE and not self._listeners.workers_started.value:
            self._listeners.workers_started.value = 1
            if not self._server.initialization_time_ms.counts():
                self._server.initialization_time_ms.record(int(proxy.uptime * 1000))
        self.store.flush()

    def _count_resources(self) -> None:
        """Listeners and clusters: those of the bootstrap, and those that came later."""
        proxy, listeners, clusters = self._proxy, self._listeners, self._clusters
        bootstrap, workers, found = proxy.blueprint.bootstrap, proxy.blueprint.workers, proxy.discovery
        drained = len(proxy.drained)
        listeners.listener_stopped.value = drained
        listeners.total_listeners_active.value = len(proxy.listeners()) - drained
        if found is None:
            listeners.listener_added.value = len(bootstrap.listeners)
            listeners.listener_create_success.value = len(bootstrap.listeners) * workers
            clusters.cluster_added.value = clusters.active_clusters.value = len(bootstrap.clusters)
            return
        one, other = found.listeners, found.clusters
        listeners.listener_added.value = one.added
        listeners.listener_modified.value = one.modified
        listeners.listener_removed.value = one.removed
        listeners.listener_in_place_updated.value = one.updated_in_place
        listeners.listener_create_success.value = (one.added + one.modified) * workers
        listeners.listener_create_failure.value = one.failed_to_create
        listeners.total_listeners_warming.value = len(one.warming)
        clusters.cluster_added.value = other.added
        clusters.cluster_modified.value = other.modified
        clusters.cluster_removed.value = other.removed
        clusters.active_clusters.value = len(bootstrap.clusters) + len(found.store.of(ResourceType.CLUSTER))
        clusters.warming_clusters.value = len(other.warming)
