"""What a worker makes of the journal: clusters, hosts, routes and listeners that come, change and go while it serves.

A large push is applied in slices, so that requests wait for none of them for long. What nothing uses is only noted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from pyproxy import clock
from pyproxy.clusters.manager import ClusterManager
from pyproxy.config.cluster import AssignmentConfig
from pyproxy.config.discovered import slot_in
from pyproxy.config.extensions import Category
from pyproxy.config.late import LateValues
from pyproxy.config.listener import FilterConfig
from pyproxy.config.resources import ResourceCompiler, ResourceType, unpack_scopes
from pyproxy.config.route import RouteTableConfig
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.config.scoped_routes import ScopeConfig
from pyproxy.listeners.manager import ListenerManager
from pyproxy.network.quiesce import quiesce
from pyproxy.server.discovery.journal import JournalReader, Operation, Record
from pyproxy.tasks import spawn

T = TypeVar("T")

log = logging.getLogger("pyproxy.server.discovery")

SLICE_SECONDS: Final = 0.004
"""How long a worker may do nothing but apply resources."""
_PAUSE_SECONDS: Final = 0.002
"""Between slices, while there is traffic."""


_LARGE: Final = 32 * 1024
"""Bytes of a resource that takes longer than a slice to compile. It is compiled in a thread: the interpreter lets the
event loop go on every few milliseconds."""


@dataclass(frozen=True, slots=True)
class LiveParts:
    """What resources become."""

    clusters: ClusterManager
    assignments: LateValues[AssignmentConfig]
    routes: LateValues[RouteTableConfig]
    virtual_hosts: LateValues[RouteTableConfig]
    scopes: LateValues[tuple[ScopeConfig, ...]]
    filters: LateValues[FilterConfig]
    secrets: LateValues[bytes]
    values: RuntimeValues
    layers: Mapping[str, int]
    """Places of the runtime layers that come from elsewhere, by slot."""
    listeners: ListenerManager


class ResourceFeed:
    """Reads on whenever `wake` is called. Listeners wait until `begin_listening`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        reader: JournalReader,
        parts: LiveParts,
        compiler: ResourceCompiler,
        take_sockets: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._parts = parts
        self._compiler = compiler
        self._take_sockets = take_sockets
        self._ready = loop.create_future()
        self._listening = False
        self._early: dict[str, bytes] = {}
        """Listeners that came before any may listen."""
        self._known: dict[ResourceType, set[str]] = {kind: set() for kind in ResourceType}
        self._seen: set[tuple[ResourceType, str]] | None = None
        """Between the beginning of a state that was written anew and its end: what is in it."""
        self._epoch = 0
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._slice_began = 0.0

    async def until_ready(self) -> None:
        """Apply what is there, and what comes, until the manager says that it is enough to serve."""
        self.wake()
        await self._ready

    async def begin_listening(self) -> None:
        """Clusters and routes are here; now listeners may come. Raises OSError."""
        early, self._early = self._early, {}
        self._listening = True
        for name, body in early.items():
            await self._put_listener(name, body)

    def wake(self) -> None:
        self._again = True
        if self._task is None:
            self._task = spawn(self._run(), "apply-resources")

    async def caught_up(self) -> None:
        """Until everything that stands in the journal now is applied."""
        self.wake()
        if self._task is not None:
            await asyncio.wait((self._task,))

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            self._slice_began = clock.monotonic()
            while self._again:
                self._again = False
                while records := self._reader.read():
                    await self._apply_all(records)
        finally:
            self._task = None

    async def _apply_all(self, records: list[Record]) -> None:
        if self._reader.epoch != self._epoch:
            self._epoch, self._seen = self._reader.epoch, set()
        for record in records:
            try:
                await self._apply(record)
            except Exception:
                # The manager has found it good, so this is a mistake of ours; the others are not to suffer for it.
                log.exception("%s %r cannot be applied", record.kind.value, record.name)
            if clock.monotonic() - self._slice_began > SLICE_SECONDS:
                await asyncio.sleep(_PAUSE_SECONDS if self._listening else 0)
                self._slice_began = clock.monotonic()

    async def _apply(self, record: Record) -> None:
        match record.operation:
            case Operation.PUT:
                if self._seen is not None:
                    self._seen.add((record.kind, record.name))
                await self._put(record)
            case Operation.REMOVE:
                self._remove(record.kind, record.name)
            case Operation.READY:
                if not self._ready.done():
                    self._ready.set_result(None)
            case Operation.WHOLE:
                seen, self._seen = self._seen or set(), None
                for kind, names in self._known.items():
                    for name in [name for name in names if (kind, name) not in seen]:
                        self._remove(kind, name)

    async def _put(self, record: Record) -> None:
        name, body, parts = record.name, record.body, self._parts
        self._known[record.kind].add(name)
        match record.kind:
            case ResourceType.CLUSTER:
                parts.clusters.put(name, partial(self._compiler.cluster, body), resolves=record.resolves)
            case ResourceType.ENDPOINTS:
                compile_hosts = partial(self._compiler.endpoints, body)
                parts.assignments.put(name, await self._unhurried(compile_hosts, body, parts.assignments, name))
            case ResourceType.ROUTES:
                compile_routes = partial(self._compiler.routes, body)
                parts.routes.put(name, await self._unhurried(compile_routes, body, parts.routes, name))
            case ResourceType.VIRTUAL_HOST:
                compile_hosts_of = partial(self._compiler.routes, body)
                made = await self._unhurried(compile_hosts_of, body, parts.virtual_hosts, name)
                parts.virtual_hosts.put(name, made)
            case ResourceType.SCOPED_ROUTES:
                parts.scopes.put(name, partial(self._scopes, body))
            case ResourceType.EXTENSION:
                for category in Category:
                    compile_filter = partial(self._compiler.extension, body, category)
                    parts.filters.put(slot_in(category.value, name), compile_filter)
            case ResourceType.RUNTIME:
                if name in parts.layers:
                    parts.values.replace(parts.layers[name], self._compiler.runtime(body))
            case ResourceType.SECRET:
                parts.secrets.put(name, lambda: body)
            case ResourceType.LISTENER:
                if self._listening:
                    await self._put_listener(name, body)
                else:
                    self._early[name] = body

    def _scopes(self, body: bytes) -> tuple[ScopeConfig, ...]:
        return tuple(self._compiler.scope(one) for one in unpack_scopes(body))

    async def _unhurried(self, make: Callable[[], T], body: bytes, values: LateValues[T], name: str) -> Callable[[], T]:
        """A large one that somebody waits for is compiled before it is put."""
        if len(body) <= _LARGE or not values.is_watched(name):
            return make
        made = await asyncio.to_thread(make)
        return lambda: made

    async def _put_listener(self, name: str, body: bytes) -> None:
        self._take_sockets()
        compile_listener = partial(self._compiler.listener, body)
        config = await asyncio.to_thread(compile_listener) if len(body) > _LARGE else compile_listener()
        try:
            await self._parts.listeners.put(config)
        except LookupError as error:  # an operator has drained it
            log.warning("listener '%s' does not accept connections: %s", name, error)
        else:
            log.debug("listener '%s' is in use", name)

    def _remove(self, kind: ResourceType, name: str) -> None:
        parts = self._parts
        self._known[kind].discard(name)
        match kind:
            case ResourceType.CLUSTER:
                parts.clusters.remove(name)
            case ResourceType.ENDPOINTS:
                parts.assignments.remove(name)
            case ResourceType.ROUTES:
                parts.routes.remove(name)
            case ResourceType.VIRTUAL_HOST:
                parts.virtual_hosts.remove(name)
            case ResourceType.SCOPED_ROUTES:
                parts.scopes.remove(name)
            case ResourceType.EXTENSION:
                for category in Category:
                    parts.filters.remove(slot_in(category.value, name))
            case ResourceType.RUNTIME:
                if name in parts.layers:
                    parts.values.replace(parts.layers[name], {})
            case ResourceType.SECRET:
                parts.secrets.remove(name)
            case ResourceType.LISTENER:
                self._early.pop(name, None)
                for sock in parts.listeners.sockets_of(name):
                    quiesce(sock)
                parts.listeners.remove(name)
