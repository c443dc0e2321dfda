"""One end of the conversation between the manager and a worker, or the manager and the supervisor, on an event loop.

Either side may ask (`ask` waits for the answer) or tell (`tell` does not). The handler is called with each question or
note and returns the answer; an answer may come later, as a future.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from pyproxy.server.frames import FRAME_LIMIT, Assembler, Envelope, Kind, encode
from pyproxy.tasks import spawn

log = logging.getLogger("pyproxy.server.channel")

Message = dict[str, Any]
Handler = Callable[[Message], Any]

QUEUE_LIMIT = 2048
"""Frames that wait for a peer that does not read: about 120 MB of configuration, or a peer that is stuck."""


class ChannelError(Exception):
    """A question that was not answered: the peer failed, was restarted, or took too long."""


def make_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a channel, for the supervisor to keep and to hand to its children."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


class Channel:
    """Reads and writes one socket of `make_pair`. `handler` returns a JSON value, or an awaitable of one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, handler: Handler) -> None:
        self._loop = loop
        self._sock = sock
        self._handler = handler
        self._assembler = Assembler()
        self._asker = os.getpid()
        self._serial = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._queue: deque[bytes] = deque()
        self._closed = False
        loop.add_reader(sock, self._readable)

    def __repr__(self) -> str:
        return f"<Channel fd={self._sock.fileno()} waiting={len(self._waiting)} queued={len(self._queue)}>"

    async def ask(self, body: Message, seconds: float) -> Any:
        """The answer of the peer. Raises ChannelError where there is none in time."""
        self._serial = (self._serial + 1) & 0xFFFFFFFF
        serial = self._serial
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[serial] = future
        timer = self._loop.call_later(seconds, _fail, future, f"no answer within {seconds} s")
        try:
            self._send(Envelope(Kind.REQUEST, self._asker, serial, body))
            return await future
        finally:
            timer.cancel()
            del self._waiting[serial]

    def tell(self, body: Message) -> None:
        """Send without waiting. Raises ChannelError when the peer has not read for long."""
        self._serial = (self._serial + 1) & 0xFFFFFFFF
        self._send(Envelope(Kind.NOTE, self._asker, self._serial, body))

    @property
    def queued(self) -> int:
        """Frames that the peer has not read yet."""
        return len(self._queue)

    def peer_restarted(self) -> None:
        """Nobody will answer what is asked so far."""
        self._queue.clear()
        self._loop.remove_writer(self._sock)
        for future in self._waiting.values():
            _fail(future, "the process was restarted")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()
            for future in self._waiting.values():
                _fail(future, "the channel was closed")

    def _send(self, envelope: Envelope) -> None:
        frames = encode(envelope)
        if self._closed or len(self._queue) + len(frames) > QUEUE_LIMIT:
            raise ChannelError("the channel is closed" if self._closed else "the process does not read its channel")
        idle = not self._queue
        self._queue.extend(frames)
        if idle:
            self._writable()

    def _writable(self) -> None:
        try:
            while self._queue:
                self._sock.send(self._queue[0])
                self._queue.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._writable)
            return
        except OSError as error:
            log.debug("the other end of a channel is gone: %s", error)
            self._queue.clear()
        self._loop.remove_writer(self._sock)

    def _readable(self) -> None:
        """Frames up to one whole message; what is left comes with the next turn of the loop."""
        envelope = None
        while envelope is None:
            try:
                frame = self._sock.recv(FRAME_LIMIT)
            except BlockingIOError:
                return
            except OSError:
                frame = b""
            if not frame:
                self.close()
                return
            envelope = self._assembler.feed(frame)
        self._take(envelope)

    def _take(self, envelope: Envelope) -> None:
        if envelope.kind in (Kind.REPLY, Kind.FAILURE):
            future = self._waiting.get(envelope.serial)
            if future is None or envelope.asker != self._asker or future.done():
                return
            if envelope.kind is Kind.REPLY:
                future.set_result(envelope.body)
            else:
                _fail(future, str(envelope.body))
            return
        try:
            answer = self._handler(envelope.body)
        except Exception as error:
            log.exception("a message failed: %r", envelope.body)
            self._reply(envelope, Kind.FAILURE, repr(error))
            return
        if asyncio.iscoroutine(answer):
            _ = spawn(self._reply_later(envelope, answer), "channel-answer")
        else:
            self._reply(envelope, Kind.REPLY, answer)

    async def _reply_later(self, envelope: Envelope, answer: Awaitable[Any]) -> None:
        try:
            value = await answer
        except Exception as error:
            log.exception("a message failed: %r", envelope.body)
            self._reply(envelope, Kind.FAILURE, repr(error))
        else:
            self._reply(envelope, Kind.REPLY, value)

    def _reply(self, envelope: Envelope, kind: Kind, body: Any) -> None:
        if envelope.kind is not Kind.REQUEST or self._closed:
            return
        try:
            self._send(Envelope(kind, envelope.asker, envelope.serial, body))
        except ChannelError as error:
            log.warning("an answer was dropped: %s", error)


def _fail(future: asyncio.Future[Any], reason: str) -> None:
    if not future.done():
        future.set_exception(ChannelError(reason))
