"""A control plane that serves whatever a test puts into it, over ADS, in a thread of its own.

State of the world and delta; every type by itself, changed resources only for delta. What is answered is noted.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from pyproxy.config.descriptors import message_class
from tests.support.control_plane import ControlPlane, Visit, delta, sotw


class SnapshotServer:
    """Type URL -> name -> message. Runs until the `with` is over."""

    def __init__(self) -> None:
        self.port = 0
        self.refusals: list[str] = []
        """What the proxy has said against our responses."""
        self.accepted: dict[str, str] = {}
        """Type URL -> the last version that was accepted."""
        self.requested: list[tuple[str, frozenset[str]]] = []
        self.on_demand: set[str] = set()
        """Types of which only what is asked for by name is sent, over delta, or said to be missing."""
        self.holds: dict[str, str] = {}
        """Types that are not sent before the present state of another one is accepted (Consul)."""
        self.unasked: dict[str, str] = {}
        """Types of which a request brings the present state of another one once more (istiod)."""
        self.all_or_nothing: set[str] = set()
        """Types of which only requests that name everything there is are answered, over SotW (go-control-plane)."""
        self._plane = ControlPlane()
        self._versions: dict[str, int] = {}
        self._resources: dict[str, dict[str, tuple[str, Any]]] = {}
        self._streams: list[_Stream] = []
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="control-plane", daemon=True)
        self._tasks: list[asyncio.Task[None]] = []

    def __enter__(self) -> SnapshotServer:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def put(self, type_url: str, resources: dict[str, Any]) -> str:
        """All resources of a type from now on, as messages; gives the version."""
        return asyncio.run_coroutine_threadsafe(self._put(type_url, resources), self._loop).result(10)

    def restart(self, seconds: float = 0.0) -> None:
        """Be away for a while, and come back at the same port."""
        asyncio.run_coroutine_threadsafe(self._restart(seconds), self._loop).result(10 + seconds)

    async def _put(self, type_url: str, resources: dict[str, Any]) -> str:
        number = self._versions[type_url] = self._versions.get(type_url, 0) + 1
        before = self._resources.get(type_url, {})
        now = {}
        for name, message in resources.items():
            old = before.get(name)
            now[name] = old if old is not None and old[1] == message else (str(number), message)
        self._resources[type_url] = now
        for stream in self._streams:
            await stream.push(type_url)
        return str(number)

    async def _restart(self, seconds: float) -> None:
        await self._plane.stop()
        await asyncio.sleep(seconds)
        await self._plane.start(self.port)

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        transports = [visit._stream._stream._transport for visit in self._plane._all]
        await self._plane.stop()
        for transport in transports:
            transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)  # what they leave behind is done in the next turns of the loop

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._plane.start())
        self.port = self._plane.port
        self._tasks.append(self._loop.create_task(self._accept()))
        self._started.set()
        self._loop.run_forever()
        pending = asyncio.all_tasks(self._loop)
        for task in pending:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self._loop.close()

    async def _accept(self) -> None:
        while True:
            visit = await self._plane.visits.get()
            stream = _Stream(self, visit)
            self._streams.append(stream)
            self._tasks.append(self._loop.create_task(stream.run()))

    def version(self, type_url: str) -> str:
        return str(self._versions.get(type_url, 0))

    def of(self, type_url: str) -> dict[str, tuple[str, Any]]:
        return self._resources.get(type_url, {})

    def over(self, stream: _Stream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)


class _Stream:
    """One conversation."""

    def __init__(self, server: SnapshotServer, visit: Visit) -> None:
        self._server = server
        self._visit = visit
        self._delta = "Delta" in visit.path
        self._nonce = 0
        self._wanted: dict[str, set[str]] = {}
        self._known: dict[str, dict[str, str]] = {}
        """What the proxy has of each type: name -> version."""
        self._held: dict[str, bool] = {}

    async def run(self) -> None:
        try:
            while not self._visit.ended.is_set():
                getting = asyncio.ensure_future(self._visit.requests.get())
                ended = asyncio.ensure_future(self._visit.ended.wait())
                await asyncio.wait((getting, ended), return_when=asyncio.FIRST_COMPLETED)
                ended.cancel()
                if not getting.done():
                    getting.cancel()
                    return
                await self._take(getting.result())
        finally:
            self._server.over(self)

    async def _take(self, request: Any) -> None:
        url = request.type_url
        if request.HasField("error_detail"):
            self._server.refusals.append(request.error_detail.message)
        elif request.response_nonce:
            self._server.accepted[url] = self._server.version(url)
            held, self._held = self._held, {}
            for waiting, always in held.items():
                await self.push(waiting, always=always)
        again = self._server.unasked.get(url)
        if again is not None and again in self._wanted:
            self._known[again] = {}
            await self.push(again)
        if self._delta:
            first = url not in self._wanted
            wanted = self._wanted.setdefault(url, set())
            fresh = set(request.resource_names_subscribe)
            if first and not fresh:
                fresh = {"*"}
            known = self._known.setdefault(url, dict(request.initial_resource_versions))
            wanted |= fresh
            wanted -= set(request.resource_names_unsubscribe)
            for name in request.resource_names_unsubscribe:
                known.pop(name, None)
            if fresh:
                self._server.requested.append((url, frozenset(fresh)))
                await self.push(url, always=first, fresh=fresh)
            return
        names = set(request.resource_names) or {"*"}
        if self._wanted.get(url) != names:
            self._wanted[url] = names
            self._server.requested.append((url, frozenset(names)))
            if url not in self._server.all_or_nothing or names >= self._server.of(url).keys():
                await self.push(url)

    async def push(self, url: str, *, always: bool = False, fresh: Iterable[str] = ()) -> None:
        wanted = self._wanted.get(url)
        if wanted is None or (not self._server.version(url) and not always):
            return
        first = self._server.holds.get(url)
        if first is not None and self._server.accepted.get(first, "0") != self._server.version(first):
            self._held[url] = always or self._held.get(url, False)
            return
        on_demand = url in self._server.on_demand
        wide = "*" in wanted and not on_demand
        below = tuple(name[:-1] for name in wanted if name.endswith("/*"))
        everything = self._server.of(url).items()
        found = {name: one for name, one in everything if wide or name in wanted or (below and name.startswith(below))}
        self._nonce += 1
        nonce = str(self._nonce)
        if not self._delta:
            if found or "*" in wanted:
                messages = (message for _, message in found.values())
                await self._visit.send(sotw(url, self._server.version(url), nonce, *messages))
            return
        known = self._known.setdefault(url, {})
        changed = [(name, version, one) for name, (version, one) in found.items() if known.get(name) != version]
        missing = [name for name in fresh if on_demand and name != "*" and name not in found]
        removed = tuple(name for name in known if name not in found)
        if url.endswith(".VirtualHost"):
            changed += [(name, "", None) for name in missing]
        else:
            removed += tuple(missing)
        if changed or removed or always:
            self._known[url] = {name: version for name, (version, _) in found.items()}
            await self._visit.send(delta(url, self._server.version(url), nonce, *changed, removed=removed))


def message_of(data: dict[str, Any]) -> Any:
    """A resource from plain data in the shape of Envoy's JSON, with `@type`."""
    from google.protobuf import json_format

    from pyproxy.config.descriptors import pool

    fields = {name: value for name, value in data.items() if name != "@type"}
    made = message_class(data["@type"].rpartition("/")[2])()
    json_format.ParseDict(fields, made, descriptor_pool=pool())
    return made
