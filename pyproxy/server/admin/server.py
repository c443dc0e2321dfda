"""The admin's HTTP server, on aiohttp in the manager process.

It does not trust the network it is on. What changes anything takes POST, so no link and no image can do it. A page that
made its own name point to us (DNS rebinding) is the same origin to its browser, so on loopback we answer only to
addresses and to `localhost`. Where to listen is the operator's choice; anything else than loopback is warned about.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from pyproxy import clock
from pyproxy.server.admin.access_log import AdminAccessLog
from pyproxy.server.admin.admin_stats import AdminStats
from pyproxy.server.admin.catalogue import ENDPOINTS, help_text
from pyproxy.server.admin.endpoint import Question, Reply
from pyproxy.server.admin.origin import is_local_name, is_loopback
from pyproxy.server.manager_stats import ManagerStats
from pyproxy.server.proxy import Proxy
from pyproxy.server.sockets import address_of

log = logging.getLogger("pyproxy.server.admin")

_HEADERS = {"Cache-Control": "no-cache, max-age=0", "X-Content-Type-Options": "nosniff", "Server": "envoy"}
_CLOSE_SECONDS = 1.0
_FORM = "application/x-www-form-urlencoded"


class _Connections(web.Server):
    """aiohttp's own, which counts."""

    def __init__(self, handler: Any, stats: AdminStats) -> None:
        super().__init__(handler, access_log=None)
        self._stats = stats
        self._opened: dict[Any, float] = {}
        self._told: dict[Any, asyncio.Future[None]] = {}

    def gone(self, handler: Any) -> asyncio.Future[None]:
        """Done when the client of a stream has left, which no write would tell while there is nothing to write."""
        told = self._told[handler] = asyncio.get_running_loop().create_future()
        if handler not in self._opened:
            told.set_result(None)
        return told

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._opened[handler] = clock.monotonic()
        self._stats.opened()

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        opened = self._opened.pop(handler, None)
        if opened is not None:
            self._stats.closed(opened)
        told = self._told.pop(handler, None)
        if told is not None and not told.done():
            told.set_result(None)


class AdminServer:
    """Answers on one socket until closed."""

    def __init__(self, proxy: Proxy, stats: ManagerStats, access_log: AdminAccessLog) -> None:
        self._access_log = access_log
        self._proxy = proxy
        self._stats = stats
        self._counts = AdminStats(stats.store)
        self._connections = _Connections(self._serve, self._counts)
        self._runner = web.ServerRunner(self._connections, shutdown_timeout=_CLOSE_SECONDS)
        self._only_local_names = False
        self._server: asyncio.AbstractServer | None = None

    async def start(self, sock: socket.socket) -> None:
        """Accept on a bound socket."""
        self._only_local_names = is_loopback(address_of(sock))
        await self._runner.setup()
        factory: Any = self._runner.server
        loop = asyncio.get_running_loop()
        if sock.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(factory, sock=sock)
        else:
            self._server = await loop.create_server(factory, sock=sock)

    def reopen_logs(self) -> None:
        self._access_log.reopen()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()
        await self._access_log.close()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        started = clock.monotonic()
        self._counts.begun()
        status = 500
        try:
            reply = await self._reply(request)
            status = reply.status
            self._access_log.log(request, reply, started)
            if reply.stream is not None:
                return await _send_stream(request, reply, reply.stream, self._connections.gone(request.protocol))
            return _whole(reply)
        finally:
            self._counts.ended(status, started)

    async def _reply(self, request: web.BaseRequest) -> Reply:
        if self._only_local_names and not is_local_name(request.headers.get("Host", "")):
            return Reply("the Host is neither an address nor localhost: not answered on loopback\n", status=403)
        endpoint = ENDPOINTS.get(request.path)
        if endpoint is None:
            return Reply(f"invalid path. {help_text()}", status=404)
        if endpoint.mutates and request.method != "POST":
            log.error('admin path "%s" mutates state, method=%s rather than POST', request.path, request.method)
            return Reply(f"Method {request.method} not allowed, POST required.", status=405)
        query = dict(request.query)
        if request.method == "POST" and request.content_type == _FORM:
            query.update({name: value for name, value in (await request.post()).items() if isinstance(value, str)})
        posted = await request.read() if request.method == "POST" else b""
        accept = request.headers.get("Accept", "")
        try:
            return await endpoint.handle(Question(self._proxy, self._stats, query, accept, request.method, posted))
        except Exception as error:
            log.exception("admin path %s failed", request.path)
            return Reply(f"{request.path} failed: {error!r}\n", status=500)


def _whole(reply: Reply) -> web.Response:
    response = web.Response(
        body=reply.body.encode("utf-8", "backslashreplace"),
        status=reply.status,
        headers={"Content-Type": reply.content_type, **_HEADERS},
    )
    response.enable_chunked_encoding()
    return response


async def _send_stream(
    request: web.BaseRequest, reply: Reply, pieces: AsyncIterator[str | bytes], gone: asyncio.Future[None]
) -> web.StreamResponse:
    """Until the pieces end or nobody listens any more."""
    response = web.StreamResponse(headers={"Content-Type": reply.content_type, **_HEADERS})
    try:
        await response.prepare(request)
        while (piece := await _next_piece(pieces, gone)) is not None:
            await response.write(piece.encode("utf-8", "backslashreplace") if isinstance(piece, str) else piece)
    except ConnectionError:
        log.debug("a listener of %s has gone", request.path)
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]
    return response


async def _next_piece(pieces: AsyncIterator[str | bytes], gone: asyncio.Future[None]) -> str | bytes | None:
    """None where there are no more, or nobody is there for them."""
    piece: asyncio.Future[Any] = asyncio.ensure_future(anext(pieces, None))
    try:
        await asyncio.wait({piece, gone}, return_when=asyncio.FIRST_COMPLETED)
        found: str | bytes | None = piece.result() if piece.done() else None
        return found
    finally:
        if not piece.done():
            piece.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await piece
