"""grpc_http1_bridge: calls by HTTP/1.1, whose downstreams cannot read trailers; also calls that are bare protobuf.

Envoy: envoy.filters.http.grpc_http1_bridge. Security posture: trusts neither side; what it has to collect is bounded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.http import grpc
from pyproxy.http.body import Body, Trailers
from pyproxy.http.grpc_frames import PREFIX, frame
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.through import Through
from pyproxy.http.whole_body import REQUEST_TOO_LARGE, RESPONSE_TOO_LARGE, WholeBody
from pyproxy.runtime import Runtime

Next = Callable[[Request], Awaitable[Response]]

_PROTOBUF: Final = b"application/x-protobuf"
_MOST: Final = 1 << 20
"""Bytes of a body that are collected: Envoy's buffer, unless a listener says otherwise."""


@dataclass(frozen=True, slots=True)
class GrpcHttp1BridgeConfig:
    """`upgrade_protobuf`: bare protobuf is made a call. `drop_query`: and its path loses the query."""

    upgrade_protobuf: bool = False
    drop_query: bool = False

    def build(self, runtime: Runtime) -> GrpcHttp1Bridge:
        del runtime
        return GrpcHttp1Bridge(self)


def compile(view: View, context: CompileContext) -> GrpcHttp1BridgeConfig:  # noqa: A001 (the name that filters have)
    """A `Config`."""
    del context
    return GrpcHttp1BridgeConfig(
        upgrade_protobuf=bool(view.scalar("upgrade_protobuf_to_grpc")),
        drop_query=bool(view.scalar("ignore_query_parameters")),
    )


class GrpcHttp1Bridge:
    """Shared by all requests of a chain."""

    sees_replies = True

    def __init__(self, config: GrpcHttp1BridgeConfig) -> None:
        self._config = config

    async def __call__(self, request: Request, next: Next) -> Response:  # noqa: A002 (the name that every filter has)
        bare = self._config.upgrade_protobuf and request.headers.get(b"content-type") == _PROTOBUF
        if bare:
            self._make_a_call(request)
        elif request.info.protocol == "HTTP/2" or not grpc.is_grpc(request.headers):
            return await next(request)
        response = await next(request)
        body = response.body
        if body is None:
            return response
        whole = WholeBody(body, _MOST, RESPONSE_TOO_LARGE)
        data = await whole
        if bare and grpc.is_grpc(response.headers):
            data = data[PREFIX:]
            if b"content-length" in response.headers:
                response.headers.set(b"content-length", b"%d" % len(data))
        if whole.trailers is not None:
            _tell(response, whole.trailers)
            request.info.response_trailers = whole.trailers  # for the log
            response.headers.set(b"content-length", b"%d" % len(data))
        response.body = Body.complete(data, whole.trailers)
        return response

    def _make_a_call(self, request: Request) -> None:
        request.headers.set(b"content-type", grpc.CONTENT_TYPE)
        request.headers.remove(b"content-length")
        request.info.came_as_call = False
        if self._config.drop_query:
            request.path = request.path.partition(b"?")[0]
        if request.body is not None:
            request.body = OneMessage(request.body, _MOST).begin()


def _tell(response: Response, trailers: Trailers) -> None:
    """What the trailers say of the call goes into the head; a call that failed is a response that failed."""
    said = Headers(trailers)
    status, message = said.get(grpc.STATUS), said.get(grpc.MESSAGE)
    if status is not None:
        if not status.isdigit() or int(status):
            response.status = 503
        response.headers.set(grpc.STATUS, status)
    if message is not None:
        response.headers.set(grpc.MESSAGE, message)


class OneMessage(Through):
    """A body that is collected to become one message of a call. One with more than `limit` bytes breaks off."""

    __slots__ = ("_chunks", "_limit", "_size")

    def __init__(self, source: Body, limit: int) -> None:
        super().__init__(source)
        self._chunks: list[bytes] = []
        self._limit = limit
        self._size = 0

    def on_data(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > self._limit:
            self._chunks.clear()
            self.source.detach()
            self.body.abort(REQUEST_TOO_LARGE)

    def on_end(self, trailers: Trailers | None) -> None:
        self.body.feed(frame(b"".join(self._chunks)))
        self.body.end(trailers)
