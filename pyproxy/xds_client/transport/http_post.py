"""One POST over HTTP/1.1, on a connection of its own."""

from __future__ import annotations

import asyncio
from typing import Final

import h11

from pyproxy.xds_client.transport.dialer import Dialer

_LONGEST: Final = 512 * 1024 * 1024


class HttpFailed(Exception):
    """There was no answer that can be used."""


class _Exchange(asyncio.Protocol):
    """Collects one response."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[tuple[int, bytes]] = loop.create_future()
        self.http = h11.Connection(h11.CLIENT)
        self.transport: asyncio.Transport | None = None
        self._status = 0
        self._body: list[bytes] = []
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._feed(data)

    def eof_received(self) -> None:
        self._feed(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(str(exc) if exc else "the connection was closed before the answer was complete")

    def _feed(self, data: bytes) -> None:
        try:
            self.http.receive_data(data)
            while not self.answer.done():
                event = self.http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                self._take(event)
        except h11.RemoteProtocolError as error:
            self._fail(str(error))

    def _take(self, event: object) -> None:
        if isinstance(event, h11.Response):
            self._status = event.status_code
        elif isinstance(event, h11.Data):
            self._size += len(event.data)
            if self._size > _LONGEST:
                self._fail("the answer is too long")
                return
            self._body.append(bytes(event.data))
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            self.answer.set_result((self._status, b"".join(self._body)))

    def _fail(self, reason: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(HttpFailed(reason))


async def post(dialer: Dialer, path: str, body: bytes) -> tuple[int, bytes]:
    """(status, body). Raises HttpFailed, NoEndpoint."""
    loop = asyncio.get_running_loop()
    exchange = await dialer.dial(lambda: _Exchange(loop), ("http/1.1",))
    transport = exchange.transport
    assert transport is not None
    try:
        headers = [
            ("host", dialer.name),
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        request = h11.Request(method="POST", target=path, headers=headers)
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            transport.write(exchange.http.send(event) or b"")
        return await exchange.answer
    finally:
        exchange.answer.cancel()
        transport.close()
