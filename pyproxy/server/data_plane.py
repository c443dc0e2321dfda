"""What a worker runs: listeners and clusters built from the bootstrap, and their statistics and logs.

The one place where the rooms of the data path are put together; `server.worker` gives it a process to live in.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from pyproxy.clusters.manager import ClusterManager
from pyproxy.clusters.peers import Note
from pyproxy.config.cluster import AssignmentConfig
from pyproxy.config.config_source import slot_of
from pyproxy.config.late import LateValues
from pyproxy.config.resources import ResourceCompiler
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.filters.builtin import EXTENSIONS
from pyproxy.listeners.manager import HANDSHAKE_GRACE, ListenerManager
from pyproxy.network.connection_limit import ConnectionLimit
from pyproxy.network.cork import Cork
from pyproxy.network.internal_listeners import InternalListeners
from pyproxy.network.secret_watch import SecretWatch
from pyproxy.runtime import Runtime
from pyproxy.server.blueprint import WorkerSeat
from pyproxy.server.channel import ChannelError, Message
from pyproxy.server.discovery.feed import LiveParts, ResourceFeed
from pyproxy.server.discovery.journal import JournalReader
from pyproxy.server.peer_workers import PeerWorkers
from pyproxy.server.socket_transfer import receive_sockets
from pyproxy.server.watchdog import Watchdog
from pyproxy.server.worker import CannotStart
from pyproxy.tasks import DeadlineTable, spawn
from pyproxy.telemetry.events import EventKind, EventOutbox
from pyproxy.telemetry.exports import Exports
from pyproxy.telemetry.http_metrics import HttpMetrics
from pyproxy.telemetry.listener_stats import ListenerManagerStats
from pyproxy.telemetry.logs import AccessLogs
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.server_stats import WatchdogStats

log = logging.getLogger("pyproxy.server.data_plane")

Ask = Callable[[Message, float], Awaitable[Any]]
"""Asks the manager; the seconds are how long to wait. Raises ChannelError."""
_ANSWER_SECONDS: Final = 10.0
"""For a manager that answers after DEMAND_SECONDS at the latest."""


class DataPlane:
    """The traffic of one worker. Implements `server.worker.Plane`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seat: WorkerSeat) -> None:
        blueprint = seat.blueprint
        bootstrap = blueprint.bootstrap
        self._loop = loop
        self._bootstrap = bootstrap
        self._sockets = blueprint.sockets.of_worker(seat.index)
        self._handed = blueprint.pairs.handed[seat.index][1]
        assignments = LateValues[AssignmentConfig]()
        self._stats = StatsStore(blueprint.stats_areas.workers[seat.index])
        deadlines = DeadlineTable(loop)
        values = RuntimeValues(bootstrap.runtime_layers)
        events = EventOutbox(worker=seat.index)
        self._secrets = SecretWatch(loop, partial(_tell_secrets, events))
        notes = blueprint.pairs.notes
        self._peers = PeerWorkers(
            loop,
            seat.index,
            notes[seat.index][1],
            [writes for other, (writes, _) in enumerate(notes) if other != seat.index],
            self._hear,
        )
        exports = Exports(events)
        self._access_logs = AccessLogs(loop, self._stats, blueprint.log_flush_seconds, exports)
        internal = InternalListeners()
        self._clusters = ClusterManager(
            loop,
            self._stats,
            deadlines,
            values,
            workers=blueprint.workers,
            secrets=self._secrets,
            assignments=assignments,
            logs=self._access_logs,
            events=events,
            peers=self._peers,
            outlier_log=bootstrap.outlier_log,
            local_cluster=bootstrap.local_cluster,
            locality=(bootstrap.node.region, bootstrap.node.zone, bootstrap.node.sub_zone),
            resolver_config=bootstrap.resolver,
            internal=internal,
        )
        self._runtime = Runtime(
            loop=loop,
            deadlines=deadlines,
            stats=self._stats,
            clusters=self._clusters,
            access_logs=self._access_logs,
            values=values,
            node=bootstrap.node,
            cork=Cork(loop),
            secrets=self._secrets,
            connection_limit=_connection_limit(bootstrap.max_connections, values, blueprint.workers, events),
            workers=blueprint.workers,
            worker=seat.index,
            exports=exports,
            internal=internal,
            http_metrics=HttpMetrics(self._stats) if HttpMetrics.wanted(os.environ) else None,
        )
        self._listeners = ListenerManager(self._runtime, float(blueprint.options.drain_time_s))
        self._feed: ResourceFeed | None = None
        if bootstrap.is_dynamic:
            compiler = ResourceCompiler(
                EXTENSIONS, allow_unknown=True, tracer=bootstrap.tracer, bind=bootstrap.bind, secrets=bootstrap.secrets
            )
            parts = LiveParts(
                clusters=self._clusters,
                assignments=assignments,
                routes=self._runtime.routes,
                virtual_hosts=self._runtime.virtual_hosts,
                scopes=self._runtime.scopes,
                filters=self._runtime.filters,
                secrets=self._secrets.values,
                values=values,
                layers={slot_of(layer.source, layer.name): layer.position for layer in bootstrap.rtds_layers},
                listeners=self._listeners,
            )
            self._runtime.demand = self._demand
            self._feed = ResourceFeed(loop, JournalReader(blueprint.journal), parts, compiler, self._take_sockets)
        self._demanded: dict[tuple[str, str, str], asyncio.Task[bool]] = {}
        self._ask: Ask | None = None
        self._waiting_for = "clusters"
        self._listener_stats = ListenerManagerStats(self._stats)
        self._watchdog = _watchdog(self._stats, seat.index)
        self._inflated = self._stats.scope(f"thread_local_cluster_manager.worker_{seat.index}").gauge(
            "clusters_inflated"
        )
        self._stats.on_flush(self._count_clusters)

    def _count_clusters(self) -> None:
        self._inflated.value = self._clusters.live_count

    async def start(self) -> None:
        """Clusters first, then listeners: nothing is accepted that could not be sent on."""
        try:
            self._clusters.apply(self._bootstrap.clusters)
            await self._peers.learn()
            if self._feed is not None:
                self._waiting_for = "resources"
                await self._feed.until_ready()
                self._waiting_for = "clusters"
            await self._clusters.warm()
            self._waiting_for = "listeners"
            listeners = tuple(one for one in self._bootstrap.listeners if self._sockets.keys() >= set(one.socket_keys))
            await self._listeners.apply(listeners, self._sockets)
            if self._feed is not None:
                self._take_sockets()
                self._loop.add_reader(self._handed, self._take_sockets)
                await self._feed.begin_listening()
        except OSError as error:
            raise CannotStart(f"{error.filename or 'a socket'}: {error.strerror or error}") from error
        self._waiting_for = ""

    def status(self) -> dict[str, Any]:
        """For `/ready`, `/init_dump` and whoever debugs a worker."""
        return {
            "connections": self._listeners.connections_active,
            "lag": self._watchdog.lag,
            "waiting_for": [self._waiting_for] if self._waiting_for else [],
        }

    def clusters(self, start: int, count: int) -> list[dict[str, Any]]:
        return self._clusters.snapshot(start, count)

    def resources_changed(self) -> None:
        """The manager has written something down."""
        if self._feed is not None:
            self._feed.wake()

    def can_ask(self, ask: Ask) -> None:
        self._ask = ask

    async def _demand(self, kind: str, where: str, name: str, seconds: float) -> bool:
        """As `runtime.Demand`. Requests that need the same ask once."""
        key = kind, where, name
        task = self._demanded.get(key)
        if task is None:
            task = self._demanded[key] = spawn(self._ask_for(kind, where, name, seconds), "demand")
            task.add_done_callback(lambda _: self._demanded.pop(key, None))
        return await asyncio.shield(task)

    async def _ask_for(self, kind: str, where: str, name: str, seconds: float) -> bool:
        until = self._loop.time() + seconds
        question = {"op": "demand", "kind": kind, "where": where, "name": name}
        while self._ask is not None and self._loop.time() < until:
            try:
                answer = await self._ask(question, min(_ANSWER_SECONDS, until - self._loop.time()))
            except ChannelError as error:
                log.debug("%s %r: %s", kind, name, error)
                continue
            if answer["found"] is not None:
                if self._feed is not None:
                    await self._feed.caught_up()
                return bool(answer["found"])
        return False

    def _hear(self, note: Note) -> None:
        self._clusters.hear(note)

    def _take_sockets(self) -> None:
        for key, (sock, *_) in receive_sockets(self._handed):
            self._listeners.offer(key, sock)

    def tick(self, interval: float) -> None:
        self._watchdog.tick(interval)
        leaving, chains = self._listeners.leaving
        self._listener_stats.total_listeners_draining.value = leaving
        self._listener_stats.total_filter_chains_draining.value = chains
        self._stats.flush()

    def outbox(self) -> Exports:
        return self._runtime.exports

    def reopen_logs(self) -> None:
        self._access_logs.reopen()

    def fail_health_checks(self, failed: bool) -> None:
        self._runtime.health_check_failed = failed
        self._listeners.fail_health_checks(failed)

    def ask_to_leave(self, names: list[str]) -> None:
        self._listeners.ask_to_leave(names)

    async def stop_listeners(self, names: list[str]) -> None:
        """Accept no more, once those whose handshake was under way are in."""
        await asyncio.sleep(HANDSHAKE_GRACE)
        self._listeners.stop_accepting(names)

    async def drain(self, seconds: float) -> None:
        """Accept no more; until no downstream connection is open, or the time is over."""
        before = self._listeners.connections_active
        await self._listeners.drain(seconds)
        left = self._listeners.connections_active
        if left:
            log.warning("%d of %d connections were still open after %g s", left, before, seconds)

    async def close(self) -> None:
        if self._feed is not None:
            self._feed.close()
            self._loop.remove_reader(self._handed)
        self._secrets.close()
        self._clusters.close()
        self._peers.close()
        self._runtime.splices.poller.close()
        await self._access_logs.close()


def _connection_limit(
    configured: int, values: RuntimeValues, workers: int, events: EventOutbox
) -> ConnectionLimit | None:
    """This worker's share. The overload manager goes before the older way of saying it."""
    most = configured or int(values.number("overload.global_downstream_max_connections", 0))
    if most <= 0:
        return None
    share = -(-most // workers)

    def tell(full: bool) -> None:
        what = (
            f"all {share} connections are open, more are closed at once" if full else "connections are accepted again"
        )
        events.emit(EventKind.OVERLOAD_ACTION, "global_downstream_max_connections", what, active=full, limit=share)

    return ConnectionLimit(share, tell)


def _watchdog(stats: StatsStore, index: int) -> Watchdog:
    own, total = WatchdogStats(stats, f"worker_{index}"), stats.scope("workers")
    return Watchdog(
        (own.watchdog_miss, total.counter("watchdog_miss")),
        (own.watchdog_mega_miss, total.counter("watchdog_mega_miss")),
    )


def _tell_secrets(events: EventOutbox, files: tuple[str, ...], fault: str) -> None:
    """Files of certificates and keys have changed."""
    if fault:
        events.emit(EventKind.CERTIFICATE_REFUSED, ", ".join(files), f"cannot be used, the old ones stay: {fault}")
    else:
        events.emit(EventKind.CERTIFICATE_ROTATED, ", ".join(files), "is in use")
