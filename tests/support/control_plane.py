"""A control plane that a test plays: it notes what it is asked, and answers what the test says, when it says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.server import Server

from pyproxy.config.descriptors import message_class
from tests.support.ports import LOOPBACK

URL = "type.googleapis.com/"
CLUSTER = f"{URL}envoy.config.cluster.v3.Cluster"
ENDPOINTS = f"{URL}envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = f"{URL}envoy.config.listener.v3.Listener"
ROUTES = f"{URL}envoy.config.route.v3.RouteConfiguration"
SECRET = f"{URL}envoy.extensions.transport_sockets.tls.v3.Secret"

VIRTUAL_HOST = f"{URL}envoy.config.route.v3.VirtualHost"

_DISCOVERY = "envoy.service.discovery.v3."
_SOTW = (_DISCOVERY + "DiscoveryRequest", _DISCOVERY + "DiscoveryResponse")
_DELTA = (_DISCOVERY + "DeltaDiscoveryRequest", _DISCOVERY + "DeltaDiscoveryResponse")
PATHS = {
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources": _SOTW,
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources": _DELTA,
    "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters": _SOTW,
    "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters": _DELTA,
    "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets": _SOTW,
    "/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners": _SOTW,
    "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints": _SOTW,
    "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints": _DELTA,
}


def sotw(type_url: str, version: str, nonce: str, *resources: Any, **fields: Any) -> Any:
    """A `DiscoveryResponse`; resources are messages, or ready made `Any`s."""
    made: Any = message_class(_SOTW[1])(version_info=version, type_url=type_url, nonce=nonce, **fields)
    for resource in resources:
        add_any(made.resources, resource)
    return made


def delta(
    type_url: str, version: str, nonce: str, *resources: tuple[str, str, Any], removed: tuple[str, ...] = ()
) -> Any:
    """A `DeltaDiscoveryResponse`; resources are (name, version, message)."""
    made: Any = message_class(_DELTA[1])(system_version_info=version, type_url=type_url, nonce=nonce)
    for name, own, message in resources:
        one = made.resources.add(name=name, version=own)
        if message is not None:
            pack(one.resource, message)
        else:
            one.aliases.append(name)
    made.removed_resources.extend(removed)
    return made


def message(type_url: str, **fields: Any) -> Any:
    return message_class(type_url.rpartition("/")[2])(**fields)


def pack(into: Any, packed: Any) -> None:
    if packed.DESCRIPTOR.full_name == "google.protobuf.Any":
        into.CopyFrom(packed)
    else:
        into.type_url = URL + packed.DESCRIPTOR.full_name
        into.value = packed.SerializeToString(deterministic=True)


def add_any(into: Any, packed: Any) -> None:
    pack(into.add(), packed)


class Visit:
    """One stream: `next_request` waits for what comes, `send` answers, `end` ends it."""

    def __init__(self, path: str, stream: Any) -> None:
        self.path = path
        self.metadata = dict(stream.metadata)
        self.requests: asyncio.Queue[Any] = asyncio.Queue()
        self.ended = asyncio.Event()
        self._stream = stream
        self._over = asyncio.Event()

    async def next_request(self, seconds: float = 10.0) -> Any:
        return await asyncio.wait_for(self.requests.get(), seconds)

    async def send(self, response: Any) -> None:
        await self._stream.send_message(response)

    async def send_bytes(self, data: bytes) -> None:
        """A message that need not be a response."""
        await self._stream._stream.send_data(b"\0" + len(data).to_bytes(4, "big") + data)

    def end(self) -> None:
        self._over.set()

    async def run(self) -> None:
        reading = asyncio.ensure_future(self._read())
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait((reading, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            over.cancel()
            self.ended.set()

    async def _read(self) -> None:
        async for request in self._stream:
            self.requests.put_nowait(request)


class ControlPlane:
    """Serves every kind of stream; each that comes is a `Visit`."""

    def __init__(self) -> None:
        self.visits: asyncio.Queue[Visit] = asyncio.Queue()
        self.port = 0
        self._server: Server | None = None
        self._all: list[Visit] = []

    def __mapping__(self) -> dict[str, Handler]:
        return {
            path: Handler(
                self._handler(path), Cardinality.STREAM_STREAM, message_class(request), message_class(response)
            )
            for path, (request, response) in PATHS.items()
        }

    async def start(self, port: int = 0, *, path: str | None = None, ssl: Any = None) -> None:
        self._server = Server([self])
        if path is not None:
            await self._server.start(path=path)
            return
        await self._server.start(LOOPBACK, port, ssl=ssl)
        assert self._server._server is not None
        self.port = self._server._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server._server.close()  # no more come
            for visit in self._all:
                visit.end()
                await visit.ended.wait()
            self._all.clear()
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def next_visit(self, seconds: float = 10.0) -> Visit:
        return await asyncio.wait_for(self.visits.get(), seconds)

    def _handler(self, path: str) -> Callable[[Any], Awaitable[None]]:
        async def handle(stream: Any) -> None:
            visit = Visit(path, stream)
            self._all.append(visit)
            self.visits.put_nowait(visit)
            await visit.run()

        return handle
