"""grpc_http1_reverse_bridge: gRPC calls to upstreams that know no gRPC, only HTTP with bodies of protobuf.

Envoy: envoy.filters.http.grpc_http1_reverse_bridge. Security posture: trusts neither side; answers that have to be
collected are bounded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from pyproxy.config.extensions import CompileContext
from pyproxy.config.route import FilterOverride
from pyproxy.config.view import View
from pyproxy.errors import ProxyError, Source
from pyproxy.http import grpc
from pyproxy.http.body import Body, Trailers
from pyproxy.http.grpc_frames import PREFIX, frame
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.through import Through
from pyproxy.http.whole_body import RESPONSE_TOO_LARGE, WholeBody
from pyproxy.runtime import Runtime

Next = Callable[[Request], Awaitable[Response]]

_MOST: Final = 1 << 20
"""Bytes of an answer that are collected: Envoy's buffer, unless a listener says otherwise."""


@dataclass(frozen=True, slots=True)
class ReverseBridgeConfig:
    """`content_type` is what upstreams speak. `frames`: they take and give what stands before messages, too."""

    content_type: bytes
    frames: bool = True
    size_header: bytes = b""
    """In which an upstream says how long its answer is, so that nothing has to be collected."""
    reroutes: bool = True

    def build(self, runtime: Runtime) -> ReverseBridge:
        del runtime
        return ReverseBridge(self)


def compile(view: View, context: CompileContext) -> ReverseBridgeConfig:  # noqa: A001 (the name that every filter has)
    """A `FilterConfig`."""
    del context
    return ReverseBridgeConfig(
        content_type=view.text("content_type").encode(),
        frames=not view.scalar("withhold_grpc_frames"),
        size_header=view.text("response_size_header").lower().encode(),
    )


def compile_route(view: View, context: CompileContext) -> FilterOverride:
    """A `FilterConfigPerRoute`."""
    del context
    return FilterOverride(disabled=bool(view.scalar("disabled")))


class ReverseBridge:
    """Shared by all requests of a chain."""

    def __init__(self, config: ReverseBridgeConfig) -> None:
        self._config = config
        self._manager: Any = None

    def bind(self, manager: Any) -> None:
        """To answer as the connection manager does."""
        self._manager = manager

    async def __call__(self, request: Request, next: Next) -> Response:  # noqa: A002 (the name that every filter has)
        headers, body, config = request.headers, request.body, self._config
        if body is None or not grpc.is_grpc(headers):
            return await next(request)
        came_as = headers.get(b"content-type") or b""
        headers.set(b"content-type", config.content_type)
        headers.set(b"accept", config.content_type)
        if not config.frames:
            _change_length(headers, -PREFIX)
            request.body = Unframed(body).begin()
        request.info.came_as_call = True
        request.rerouting.find(request)
        response = await next(request)
        if request.info.details == "direct_response":
            response = self._manager.shape_direct(request, response)
        return await self._answer(response, came_as)

    async def _answer(self, response: Response, came_as: bytes) -> Response:
        headers, config = response.headers, self._config
        content_type = headers.get(b"content-type") or b""
        if content_type != config.content_type:
            raise _refused(response.status, content_type)
        headers.set(b"content-type", came_as)
        status = 0 if response.status == 200 else grpc.OF_STATUS.get(response.status, grpc.UNKNOWN)
        response.status = 200
        if config.frames:
            if response.body is not None:
                response.body = Ending(response.body, status).begin()
            return response
        _change_length(headers, PREFIX)
        if config.size_header and response.body is not None:
            size = headers.get(config.size_header)
            if size is None or not size.isdigit():
                raise _NO_SIZE
            response.body = Ending(response.body, status, b"\0" + int(size).to_bytes(4, "big")).begin()
            return response
        data, trailers = b"", None
        if response.body is not None:
            whole = WholeBody(response.body, _MOST, RESPONSE_TOO_LARGE)
            data = await whole
            trailers = whole.trailers
        response.body = Body.complete(frame(data), _with_status(trailers, status))
        return response


_NO_SIZE: Final = ProxyError(
    None,
    Source.UPSTREAM,
    200,
    "grpc_bridge_content_length_missing",
    body=b"envoy reverse bridge: upstream did not set content length",
)


def _refused(status: int, content_type: bytes) -> ProxyError:
    found = f"unsupported content-type {content_type.decode('latin-1')}" if content_type else "no content-type header"
    text = f"envoy reverse bridge: upstream responded with {found}, status code {status}"
    return ProxyError(None, Source.UPSTREAM, 200, "grpc_bridge_content_type_wrong", body=text.encode("latin-1"))


def _change_length(headers: Headers, by: int) -> None:
    length = headers.get(b"content-length")
    if length is not None and length.isdigit():
        headers.set(b"content-length", b"%d" % max(0, int(length) + by))


def _with_status(trailers: Trailers | None, status: int) -> Trailers:
    return [*(trailers or ()), (grpc.STATUS, b"%d" % status)]


class Unframed(Through):
    """The message of a request without what stands before it. A body that is too short for that breaks off."""

    __slots__ = ("_ahead",)

    def __init__(self, source: Body) -> None:
        super().__init__(source)
        self._ahead = b""

    def on_data(self, chunk: bytes) -> None:
        if len(self._ahead) == PREFIX:
            self.body.feed(chunk)
            return
        data = self._ahead + chunk
        self._ahead = data[:PREFIX]
        self.body.feed(data[PREFIX:])

    def on_end(self, trailers: Trailers | None) -> None:
        if len(self._ahead) < PREFIX:
            text = b"invalid request body"
            self.body.abort(ProxyError(None, Source.DOWNSTREAM, 200, "grpc_bridge_data_too_small", body=text))
        else:
            self.body.end(trailers)


class Ending(Through):
    """The body of an answer with the status of the call behind it, and perhaps a few bytes before it."""

    __slots__ = ("_ahead", "_status")

    def __init__(self, source: Body, status: int, ahead: bytes = b"") -> None:
        super().__init__(source)
        self._status = status
        self._ahead = ahead

    def on_data(self, chunk: bytes) -> None:
        ahead, self._ahead = self._ahead, b""
        self.body.feed(ahead + chunk)

    def on_end(self, trailers: Trailers | None) -> None:
        self.body.feed(self._ahead)
        self.body.end(_with_status(trailers, self._status))
