"""The whole proxy as the manager sees it: what it was started with, how its processes are, what can be asked of it.

The admin endpoints talk to this and to nothing else. What an operator changed here (log levels, failed health checks,
drained listeners) is told to every worker; the supervisor remembers it for those that are restarted.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from pyproxy import clock
from pyproxy.config.address import AddressConfig
from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.cluster import ClusterConfig
from pyproxy.config.listener import ListenerConfig
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.server.blueprint import ManagerSeat
from pyproxy.server.channel import Channel, ChannelError
from pyproxy.server.crew import CrewReport, Phase
from pyproxy.server.discovery.collectors import cluster_in_force, filled
from pyproxy.server.discovery.discovery import Discovery, Stage
from pyproxy.server.event_hub import EventHub
from pyproxy.server.event_sources import tell_crew
from pyproxy.server.memory_use import MemoryUse, measure
from pyproxy.server.server_state import ServerState, overall
from pyproxy.server.sockets import SocketKey
from pyproxy.server.tap_filters import TapFilters
from pyproxy.server.tap_hub import TapHub
from pyproxy.server.worker_link import WorkerLink
from pyproxy.tasks import spawn
from pyproxy.telemetry.events import Event, EventKind
from pyproxy.telemetry.metrics import StatsStore

log = logging.getLogger("pyproxy.server.proxy")

HOT_RESTART_VERSION = "disabled"
LINK_SECONDS = 2.0
_MANY = 6
"""Log levels that an event does not list one by one."""


class Proxy:
    """Lives in the manager process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seat: ManagerSeat) -> None:
        self.blueprint = seat.blueprint
        self.crew = seat.crew
        self.health_failed = bool(seat.memory.get("health_failed", False))
        self.drained = set(seat.memory.get("drained", ()))
        self.events = EventHub()
        self.tap = TapHub(self._tell_tap)
        self.tap_filters = TapFilters(self.ask_workers)
        self._link = Channel(loop, seat.blueprint.pairs.link[1], self._hear)
        self._workers = [
            WorkerLink(loop, index, pair[0], self._brief) for index, pair in enumerate(seat.blueprint.pairs.workers)
        ]
        self._follow(seat.crew)
        self.discovery: Discovery | None = None

    def discover(self, loop: asyncio.AbstractEventLoop, stats: StatsStore) -> None:
        """Begin to learn what the bootstrap leaves to others. `stats` is where it is counted."""
        if self.blueprint.bootstrap.is_dynamic:
            self.discovery = Discovery(
                loop, self.blueprint, self._ask_supervisor, self._wake_workers, stats, self.events
            )
            self.discovery.start()
            for worker in self._workers:
                worker.on_demand = self.discovery.demand

    # What there is to know

    @property
    def uptime(self) -> float:
        """Seconds since the proxy was started."""
        return clock.monotonic() - self.blueprint.started

    @property
    def draining(self) -> bool:
        return self.crew.phase is not Phase.SERVING

    @property
    def restarts(self) -> int:
        """How often a worker had to be started again."""
        return sum(worker.restarts for worker in self.crew.workers)

    def memory(self) -> list[MemoryUse]:
        """What each process holds now."""
        workers = [(f"worker {worker.index}", worker.pid) for worker in self.crew.workers if worker.pid]
        return [measure(*who) for who in (("supervisor", os.getppid()), ("manager", os.getpid()), *workers)]

    def cluster_config(self, name: str) -> ClusterConfig | None:
        """The cluster of a name as it is configured now. Raises InvalidConfig where its certificates do not fit."""
        static = next((one for one in self.blueprint.bootstrap.clusters if one.name == name), None)
        if self.discovery is None:
            return static
        store = self.discovery.store
        return (
            cluster_in_force(store, name, self.blueprint.bootstrap.secrets) if static is None else filled(store, static)
        )

    @property
    def node(self) -> NodeConfig:
        """Who this proxy is."""
        return self.blueprint.bootstrap.node

    def runtime_values(self) -> RuntimeValues:
        return RuntimeValues(self.blueprint.bootstrap.runtime_layers)

    def hear_exports(self, take: Callable[[dict[str, Any]], None]) -> None:
        """Give `take` what workers have for collectors."""
        for worker in self._workers:
            worker.on_export = take
            worker.on_events = self._take_events
            worker.on_tap = self.tap.take
            worker.on_trace = self.tap_filters.take

    async def state(self) -> ServerState:
        """What `/ready` says. It asks the workers, so it is true of the loops that carry the traffic."""
        states = await asyncio.gather(*(worker.ask_state() for worker in self._workers))
        return self._overall(states)

    def known_state(self) -> ServerState:
        """The same from what the workers said last, without asking."""
        return self._overall([worker.state for worker in self._workers])

    def _overall(self, states: list[ServerState | None]) -> ServerState:
        found = overall(states, draining=self.draining, health_failed=self.health_failed)
        early = self.discovery is not None and self.discovery.stage in (Stage.VALUES, Stage.CLUSTERS)
        return ServerState.PRE_INITIALIZING if early and found is ServerState.INITIALIZING else found

    def listeners(self) -> list[ListenerConfig]:
        """All listeners that are in force: those of the bootstrap, and those that came later."""
        later = () if self.discovery is None else self.discovery.listeners.active.values()
        return [*self.blueprint.bootstrap.listeners, *later]

    def address(self, key: SocketKey) -> AddressConfig | None:
        """Where a socket really listens."""
        known = self.blueprint.sockets.addresses if self.discovery is None else self.discovery.publisher.addresses
        return known.get(key)

    async def ask_workers(self, message: dict[str, Any]) -> list[Any]:
        """The answers in the order of the workers, None for those that gave none in time."""
        return await asyncio.gather(*(worker.ask(message) for worker in self._workers))

    async def clusters(self) -> list[dict[str, Any]]:
        """All clusters with their hosts by name; the numbers of the workers are added."""
        return merge_clusters(await asyncio.gather(*(worker.clusters() for worker in self._workers)))

    # What can be done

    async def stop(self) -> None:
        """As SIGTERM does."""
        await self._ask_supervisor({"op": "stop"})

    async def reopen_logs(self) -> None:
        """As SIGUSR1 does."""
        await self._ask_supervisor({"op": "reopen_logs"})

    async def set_log_levels(self, levels: Mapping[str, str]) -> None:
        """In all processes. Raises UnknownLogger, UnknownLevel."""
        self.blueprint.app_log.set_levels(levels)
        few = len(levels) < _MANY
        told = ", ".join(f"{name}={level}" for name, level in levels.items()) if few else f"{len(levels)} components"
        self.events.emit(EventKind.ADMIN_ACTION, "log levels", told)
        for worker in self._workers:
            worker.tell({"op": "log_levels", "levels": dict(levels)})
        await self._ask_supervisor({"op": "log_levels", "levels": dict(levels)})

    async def fail_health_checks(self, failed: bool) -> None:
        """Answer health checks as unhealthy and ask downstreams to leave, or stop doing so."""
        self.health_failed = failed
        what = "health checks are failed" if failed else "health checks are answered again"
        self.events.emit(EventKind.ADMIN_ACTION, "proxy", what)
        await self._ask_supervisor({"op": "remember", "memory": {"health_failed": failed}})
        for worker in self._workers:
            worker.tell({"op": "fail_health_checks", "failed": failed})

    async def drain_listeners(self, names: Collection[str], seconds: float) -> None:
        """Stop accepting on these listeners: now, or after so many seconds in which downstreams are asked to leave."""
        if not seconds:
            await self._stop_listeners(names)
            return
        await self.ask_to_leave(names)
        _ = spawn(self._stop_listeners_later(names, seconds), "drain-listeners")

    async def _stop_listeners_later(self, names: Collection[str], seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._stop_listeners(names)

    async def _stop_listeners(self, names: Collection[str]) -> None:
        self.drained |= set(names)
        for name in sorted(names):
            self.events.emit(EventKind.LISTENER_DRAINED, name, "accepts no more connections")
        await self._ask_supervisor({"op": "remember", "memory": {"drained": sorted(self.drained)}})
        keys = {key for listener in self.listeners() if listener.name in names for key in listener.socket_keys}
        await self._ask_supervisor({"op": "close_listeners", "keys": sorted(keys)})
        for worker in self._workers:
            worker.tell({"op": "stop_listeners", "names": sorted(names)})

    async def ask_to_leave(self, names: Collection[str]) -> None:
        """Ask the downstreams of these listeners to leave, and go on accepting. Done when every worker knows."""
        await self.ask_workers({"op": "ask_to_leave", "names": sorted(names)})

    def _tell_tap(self, wishes: list[dict[str, Any]]) -> None:
        for worker in self._workers:
            worker.tell({"op": "tap", "wishes": wishes})

    def _take_events(self, message: dict[str, Any]) -> None:
        for one in message["events"]:
            self.events.take(Event.of_message(one))

    def close(self) -> None:
        if self.discovery is not None:
            self.discovery.close()
        self._link.close()
        for worker in self._workers:
            worker.close()

    def _hear(self, message: dict[str, Any]) -> None:
        self._follow(CrewReport.of_message(message))

    def _follow(self, crew: CrewReport) -> None:
        before, self.crew = self.crew, crew
        if crew is not before:
            tell_crew(before, crew, self.events)
        for worker, report in zip(self._workers, crew.workers, strict=False):
            worker.update(report)

    def _brief(self, worker: WorkerLink) -> None:
        """Tell a worker that begins to serve what has changed since the proxy was started and cannot be inherited."""
        if self.tap.wishes:
            worker.tell({"op": "tap", "wishes": self.tap.wishes})
        if self.tap_filters.message:
            worker.tell(self.tap_filters.message)
        if self.health_failed:
            worker.tell({"op": "fail_health_checks", "failed": True})

    def _wake_workers(self) -> None:
        """Something is new in the journal."""
        for worker in self._workers:
            worker.tell({"op": "resources_changed"})

    async def _ask_supervisor(self, message: dict[str, Any]) -> bool:
        """Whether it confirmed."""
        try:
            await self._link.ask(message, LINK_SECONDS)
        except ChannelError as error:
            log.warning("the supervisor did not confirm %s: %s", message["op"], error)
            return False
        return True


def merge_clusters(answers: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What several workers say about their clusters, as one list by name: hosts united, their numbers added."""
    merged: dict[str, dict[str, Any]] = {}
    hosts: dict[tuple[str, str], dict[str, Any]] = {}
    for answer in answers:
        for cluster in answer:
            name = cluster["name"]
            known = merged.setdefault(name, {**cluster, "hosts": []})
            for host in cluster["hosts"]:
                same = hosts.get((name, host["address"]))
                if same is None:
                    hosts[name, host["address"]] = host
                    known["hosts"].append(host)
                else:
                    _add(same["counters"], host["counters"])
                    _add(same["gauges"], host["gauges"])
                    if "health_flags" in host:
                        same["health_flags"] = _all_flags(same["health_flags"], host["health_flags"])
    return [merged[name] for name in sorted(merged)]


def _all_flags(some: str, others: str) -> str:
    """Each worker judges hosts for itself: what one of them has against a host is shown."""
    if some == others:
        return some
    words = [word for flags in (some, others) if flags.startswith("/") for word in flags[1:].split("/")]
    return "".join(f"/{word}" for word in dict.fromkeys(words)) or some


def _add(into: dict[str, int], more: Mapping[str, int]) -> None:
    for name, value in more.items():
        into[name] += value
