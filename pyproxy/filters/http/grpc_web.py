"""grpc_web: calls of browsers, which cannot read trailers, become gRPC, and the answers what browsers can read.

Envoy: envoy.filters.http.grpc_web; grpc/doc/PROTOCOL-WEB.md. Security posture: trusts neither side. Bodies are changed
as they come and never collected, but for the text of an error, of which 16 KiB are kept.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.errors import ProxyError, Source
from pyproxy.filters.common.grpc_methods import CountedMethods
from pyproxy.http import grpc
from pyproxy.http.body import Body, Trailers
from pyproxy.http.grpc_frames import TRAILERS, MessageReader, frame
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.through import Through
from pyproxy.http.whole_body import WholeBody
from pyproxy.runtime import Runtime
from pyproxy.telemetry.grpc_method_stats import GrpcMethodStats

Next = Callable[[Request], Awaitable[Response]]

_PROTO: Final = b"application/grpc-web+proto"
_TEXT_PROTO: Final = b"application/grpc-web-text+proto"
_TEXT: Final = (b"application/grpc-web-text", _TEXT_PROTO)
_BINARY: Final = (b"application/grpc-web", _PROTO)
_MOST_OF_AN_ERROR: Final = 16384
_SEGMENTS: Final = re.compile(rb"[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True, slots=True)
class GrpcWebConfig:
    """There is nothing to say of it."""

    def build(self, runtime: Runtime) -> GrpcWeb:
        return GrpcWeb(runtime)


def compile(view: View, context: CompileContext) -> GrpcWebConfig:  # noqa: A001 (the name that every filter has)
    """A `GrpcWeb`."""
    del view, context
    return GrpcWebConfig()


class GrpcWeb:
    """Shared by all requests of a chain."""

    sees_replies = True

    def __init__(self, runtime: Runtime) -> None:
        self._methods = CountedMethods(runtime.clusters, "grpc-web")
        self._manager: Any = None

    def bind(self, manager: Any) -> None:
        """To answer as the connection manager does."""
        self._manager = manager

    async def __call__(self, request: Request, next: Next) -> Response:  # noqa: A002 (the name that every filter has)
        headers = request.headers
        content_type = headers.get(b"content-type")
        encoded = content_type in _TEXT
        if not encoded and content_type not in _BINARY:
            return await next(request)
        stats = self._methods.of(request)
        wants_text = headers.joined(b"accept") in _TEXT
        headers.remove(b"content-length")
        headers.set(b"content-type", grpc.CONTENT_TYPE)
        request.info.came_as_call = False
        headers.set(b"te", b"trailers")
        if b"grpc-accept-encoding" not in headers.index:
            headers.add(b"grpc-accept-encoding", b"identity")
        if encoded and request.body is not None:
            try:
                request.body = _decoded(request.body)
            except ProxyError as error:
                return await self._answer(self._manager.reply(request, error), stats, text=wants_text)
        return await self._answer(await next(request), stats, text=wants_text)

    async def _answer(self, response: Response, stats: GrpcMethodStats | None, *, text: bool) -> Response:
        headers, body = response.headers, response.body
        status = headers.get(grpc.STATUS)
        if stats is not None and status is not None:
            stats.ended(status)
        answers = response.status == 200 and _speaks_grpc(headers)
        headers.set(b"content-type", _TEXT_PROTO if text else _PROTO)
        headers.remove(b"content-length")
        if body is None:
            return response
        if answers:
            response.body = Encoder(body, stats, text=text).begin()
            return response
        # What is no answer to a call, perhaps a page of a proxy, says what went wrong.
        said = await WholeBody(body, _MOST_OF_AN_ERROR)
        if said:
            headers.set(grpc.MESSAGE, grpc.escape(said))
        headers.set(grpc.STATUS, b"%d" % grpc.OF_STATUS.get(response.status, grpc.UNKNOWN))
        headers.set(b"content-length", b"0")
        response.body = None
        return response


def _speaks_grpc(headers: Headers) -> bool:
    content_type = headers.get(b"content-type")
    return grpc.is_grpc(headers) or content_type in _TEXT or content_type in _BINARY


def _bad(details: str) -> ProxyError:
    return ProxyError(None, Source.DOWNSTREAM, 400, details, body=b"Bad gRPC-web request, invalid base64 data.")


_NOT_BASE64: Final = _bad("grpc_base_64_decode_failed")
_BAD_SIZE: Final = _bad("grpc_base_64_decode_failed_bad_size")


class TextDecoder(Through):
    """The body of a request, which came as base64. Where it is none the request ends."""

    __slots__ = ("_rest",)

    def __init__(self, source: Body) -> None:
        super().__init__(source)
        self._rest = b""

    def on_data(self, chunk: bytes) -> None:
        data = self._rest + chunk
        whole = len(data) // 4 * 4
        self._rest = data[whole:]
        if not whole:
            return
        decoded = decode(data[:whole])
        if decoded is None:
            self._refuse(_NOT_BASE64)
        else:
            self.body.feed(decoded)

    def on_end(self, trailers: Trailers | None) -> None:
        if self._rest:
            self._refuse(_BAD_SIZE)
        else:
            self.body.end(trailers)

    def _refuse(self, error: ProxyError) -> None:
        self.source.detach()
        self.body.abort(error)


def _decoded(body: Body) -> Body:
    """Raises ProxyError where all of it is here and it is no base64."""
    whole = body.take()
    if whole is None:
        return TextDecoder(body).begin()
    if len(whole) % 4:
        raise _BAD_SIZE
    decoded = decode(whole)
    if decoded is None:
        raise _NOT_BASE64
    return Body.complete(decoded, body.trailers)


def decode(data: bytes) -> bytes | None:
    """Base64, perhaps several pieces of it with an end each. None where it is none."""
    try:
        return binascii.a2b_base64(data, strict_mode=True)
    except binascii.Error:
        pieces = _SEGMENTS.findall(data)
    if sum(map(len, pieces)) != len(data) or any(len(piece) % 4 for piece in pieces):
        return None
    try:
        return b"".join([binascii.a2b_base64(piece, strict_mode=True) for piece in pieces])
    except binascii.Error:
        return None


class Encoder(Through):
    """The body of a response: trailers become its last message, and all of it base64 where `text` is wanted."""

    __slots__ = ("_reader", "_stats", "_text")

    def __init__(self, source: Body, stats: GrpcMethodStats | None, *, text: bool) -> None:
        super().__init__(source)
        self._stats = stats
        self._text = text
        self._reader = MessageReader()

    def on_data(self, chunk: bytes) -> None:
        if not self._text:
            self.body.feed(chunk)
            return
        messages = self._reader.read(chunk)
        if messages:
            self.body.feed(b"".join([_base64(frame(message, flags)) for flags, message in messages]))

    def on_end(self, trailers: Trailers | None) -> None:
        if trailers is None:
            self.body.end(None)
            return
        if self._stats is not None:
            status = next((value for name, value in trailers if name == grpc.STATUS), None)
            if status is not None:
                self._stats.ended(status)
        lines = b"".join([name + b":" + value + b"\r\n" for name, value in trailers])
        last = frame(lines, TRAILERS)
        self.body.feed(_base64(last) if self._text else last)
        self.body.end(None)


def _base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)
