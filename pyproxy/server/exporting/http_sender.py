"""POSTs to a collector over HTTP/1.1, one after the other, on a connection that is kept."""

from __future__ import annotations

import asyncio
from typing import Any

import httptools

from pyproxy.server.exporting.destination import Destination


class _Conversation(asyncio.Protocol):
    """One connection. `ask` sends a request and gives the status of its response."""

    def __init__(self) -> None:
        self.usable = True
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._answer: asyncio.Future[int] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the collector closed the connection"))

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._answer.set_exception(ConnectionError(f"the collector does not speak HTTP: {error}"))
            self.close()

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # interim: the parser goes on with the final one
            return
        self.usable = self.usable and self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)

    async def ask(self, request: bytes) -> int:
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._answer
        finally:
            if not self._answer.done() or self._answer.cancelled():
                self.close()

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()


class HttpSender:
    """One collector. Not for two requests at a time."""

    def __init__(
        self, destination: Destination, authority: str, path: str, headers: tuple[tuple[str, str], ...]
    ) -> None:
        self._destination = destination
        lines = [f"POST {path} HTTP/1.1", f"host: {authority}", *(f"{name}: {value}" for name, value in headers)]
        self._head = "\r\n".join(lines).encode("latin-1", "replace")
        self._conversation: _Conversation | None = None

    async def post(self, body: bytes, content_type: str, *, encoding: str = "") -> int:
        """The status of the answer. Raises what `Destination.connect` does, and OSError where the connection breaks."""
        encoded = f"\r\ncontent-encoding: {encoding}" if encoding else ""
        tail = f"\r\ncontent-type: {content_type}{encoded}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        conversation = self._conversation
        if conversation is None or not conversation.usable:
            conversation = self._conversation = await self._destination.connect(_Conversation, "http/1.1")
        return await conversation.ask(self._head + tail + body)

    def close(self) -> None:
        if self._conversation is not None:
            self._conversation.close()
