"""The control plane on the network: ADS over gRPC, and `/snapshot` over HTTP.

It is for laptops and tests: nobody has to prove who they are, so it listens where it is told and should not be told
to listen to the world.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from grpclib.const import Cardinality, Handler
from grpclib.exceptions import StreamTerminatedError
from grpclib.server import Server, Stream

from pyproxy import tasks
from pyproxy.config.descriptors import message_class
from pyproxy.config.invalid import InvalidConfig
from pyproxy.control_plane.mesh import HostPort
from pyproxy.control_plane.mesh_file import read_mesh
from pyproxy.control_plane.stream import (
    DELTA_REQUEST,
    DELTA_RESPONSE,
    SOTW_REQUEST,
    SOTW_RESPONSE,
    DeltaServed,
    ServedStream,
    SotwServed,
)
from pyproxy.control_plane.world import World

log = logging.getLogger("pyproxy.control_plane")

_SERVICE: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
_LOOK_INTERVAL: Final = 0.25
_RENEW_INTERVAL: Final = 60.0


class ControlPlaneServer:
    """Serves a `World` and follows its file."""

    def __init__(self, world: World, file: Path) -> None:
        self.world = world
        self._file = file
        self._seen: bytes | None = None
        self._changed: dict[ServedStream, asyncio.Event] = {}
        self._grpc: Server | None = None
        self._web: web.AppRunner | None = None
        self._following: asyncio.Task[Any] | None = None
        world.on_change = self._on_change

    def read_file(self) -> None:
        """Take the file as it is now. Raises InvalidConfig and OSError; the mesh that was in use stays."""
        self._seen = self._file.read_bytes()
        try:
            mesh = read_mesh(self._seen.decode("utf-8", "replace"), str(self._file))
        except InvalidConfig as error:
            self.world.problem = "\n".join(f"{one.place}: {one}" for one in error.faults)
            raise
        self.world.use(mesh)

    async def start(self, xds: HostPort, admin: HostPort) -> tuple[int, int]:
        """Listen; gives the two ports, which were chosen where they are 0."""
        self._grpc = Server([self])
        await self._grpc.start(xds.host, xds.port)
        app = web.Application()
        app.router.add_get("/snapshot", self._snapshot)
        app.router.add_get("/ready", self._ready)
        app.router.add_post("/rotate", self._rotate)
        self._web = web.AppRunner(app, access_log=None)
        await self._web.setup()
        await web.TCPSite(self._web, admin.host, admin.port).start()
        self._following = tasks.spawn(self._follow(), "follow the mesh")
        listening: Any = self._grpc._server  # noqa: SLF001 - grpclib tells its port in no other way
        assert listening is not None
        return listening.sockets[0].getsockname()[1], self._web.addresses[0][1]

    async def stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
        if self._web is not None:
            await self._web.cleanup()
        if self._grpc is not None:
            self._grpc.close()

    def __mapping__(self) -> dict[str, Handler]:
        """The methods, as grpclib asks for them."""
        kinds: dict[str, tuple[type[ServedStream], str, str]] = {
            "StreamAggregatedResources": (SotwServed, SOTW_REQUEST, SOTW_RESPONSE),
            "DeltaAggregatedResources": (DeltaServed, DELTA_REQUEST, DELTA_RESPONSE),
        }
        return {
            _SERVICE + name: Handler(
                self._serve(served), Cardinality.STREAM_STREAM, message_class(request), message_class(response)
            )
            for name, (served, request, response) in kinds.items()
        }

    def _serve(self, kind: type[ServedStream]) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        async def serve(stream: Stream[Any, Any]) -> None:
            served = kind()
            changed = self._changed[served] = asyncio.Event()
            self.world.streams[served] = None
            sending = tasks.spawn(self._send(stream, served, changed), "send to a proxy")
            try:
                async for request in stream:
                    served.hear(request)
                    changed.set()
            finally:
                sending.cancel()
                del self._changed[served]
                del self.world.streams[served]

        return serve

    async def _send(self, stream: Stream[Any, Any], served: ServedStream, changed: asyncio.Event) -> None:
        """Whenever something has changed, here or there."""
        try:
            while True:
                await changed.wait()
                changed.clear()
                if served.node is None:
                    continue
                for response in served.due(self.world.resources(served.node.cluster, served.node.id)):
                    await stream.send_message(response)
        except (StreamTerminatedError, OSError):
            return  # whoever reads from it is told as well

    def _on_change(self) -> None:
        for changed in self._changed.values():
            changed.set()

    async def _follow(self) -> None:
        """The file may be written in place, moved over, or swapped behind a link: it is read, and it is short."""
        waited = 0.0
        while True:
            await asyncio.sleep(_LOOK_INTERVAL)
            waited += _LOOK_INTERVAL
            if waited >= _RENEW_INTERVAL:
                waited = 0.0
                self.world.renew()
            try:
                if self._file.read_bytes() != self._seen:
                    self.read_file()
            except InvalidConfig:
                log.warning("the mesh stays as it was: %s", self.world.problem)
            except OSError as error:
                log.debug("%s cannot be read: %s", self._file, error)

    async def _snapshot(self, _: web.Request) -> web.Response:
        return web.json_response(self.world.snapshot())

    async def _ready(self, _: web.Request) -> web.Response:
        return web.Response(text="LIVE\n")

    async def _rotate(self, _: web.Request) -> web.Response:
        self.world.rotate()
        return web.Response(text="OK\n")
