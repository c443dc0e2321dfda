"""One stream that is kept up: a `Mux` that is connected to whoever answers, again and again.

What was learnt stays while there is nobody; streams are opened anew with jittered exponential back-off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from pyproxy import tasks
from pyproxy.xds_client.protocol.mux import MalformedResponse, Mux
from pyproxy.xds_client.protocol.pace import BackOff
from pyproxy.xds_client.protocol.watch import NEVER
from pyproxy.xds_client.transport.grpc_peer import FAILURES, GrpcPeer, MessageStream

log = logging.getLogger("pyproxy.config")


class StreamEnded(Exception):
    """The control plane has ended the stream."""


_OVER: Final[tuple[type[Exception], ...]] = (*FAILURES, MalformedResponse, StreamEnded, UnicodeError)


class GrpcStream:
    """`peers` are tried in turn: the first, and the one to fall back to where it does not answer."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, mux: Mux, peers: Sequence[GrpcPeer], path: str, back_off: BackOff
    ) -> None:
        self.mux = mux
        self._loop = loop
        self._peers = peers
        self._path = path
        self._back_off = back_off
        self._task: asyncio.Task[Any] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._due = asyncio.Event()
        self._sent = asyncio.Event()
        self._woken = False
        self._heard = False
        self._closed = False
        self._complaint = ""

    def start(self) -> None:
        """Once."""
        if self._task is None:
            self._task = tasks.spawn(self._run(), f"xds {self._path}")

    def close(self) -> None:
        self._closed = True  # grpclib may turn the cancellation into an error of the stream
        if self._task is not None:
            self._task.cancel()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        for peer in self._peers:
            peer.close()

    def wake(self) -> None:
        """What is wanted has changed. Sent in the next turn of the loop: several changes make one request."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Do what is due, and come back when the next thing is."""
        self._woken = False
        if self._closed:
            return
        self.mux.expire()
        self.mux.tell_late()
        self._due.set()
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._closed:
            return
        at = self.mux.wake_at()
        if at != NEVER:
            self._alarm = self._loop.call_later(max(0.0, at - self.mux.now()), self._pump)

    async def _run(self) -> None:
        at = 0
        while not self._closed:
            peer = self._peers[at]
            self._heard = False
            try:
                await self._converse(peer)
            except _OVER as error:
                if self._closed:
                    return
                self._complain(peer, error)
            except Exception:
                # A fault of ours must not leave us deaf for ever.
                log.exception("what the control plane %s sent could not be taken in", peer.name)
            finally:
                self.mux.disconnected()
            if not self._heard:
                at = (at + 1) % len(self._peers)
            peer.close()  # the next attempt may find another endpoint
            self.wake()
            await asyncio.sleep(self._back_off.next_seconds())

    async def _converse(self, peer: GrpcPeer) -> None:
        stream = peer.open(self._path)
        async with stream:
            await stream.send_request()
            self.mux.connected()
            self.wake()
            writing = tasks.spawn(self._write(stream), f"xds write {self._path}")
            try:
                await self._read(peer, stream)
            finally:
                writing.cancel()

    async def _read(self, peer: GrpcPeer, stream: MessageStream) -> None:
        while True:
            data = await stream.recv_message()
            if data is None:
                raise StreamEnded(_status(stream))
            if not self._heard:
                self._heard = True
                self._complaint = ""
                log.info("the control plane %s answers", peer.name)
            self._back_off.reset()
            self.mux.receive(data)
            del data
            self.wake()
            while self.mux.congested:
                self._sent.clear()
                await self._sent.wait()

    async def _write(self, stream: MessageStream) -> None:
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                while (request := self.mux.next_request()) is not None:
                    await stream.send_message(request)
                self._sent.set()
                self._set_alarm()
        except FAILURES:
            return  # the reader is told as well

    def _complain(self, peer: GrpcPeer, error: BaseException) -> None:
        """Once for each reason, until there is an answer again."""
        said = str(error) or type(error).__name__
        level = logging.WARNING if said != self._complaint else logging.DEBUG
        log.log(level, "the control plane %s: %s; what was learnt stays", peer.name, said)
        self._complaint = said


def _status(stream: MessageStream) -> str:
    """What the control plane said as it ended the stream."""
    trailers = dict(stream._stream.trailers or ())  # noqa: SLF001
    status, message = trailers.get("grpc-status", ""), trailers.get("grpc-message", "")
    return f"ended the stream, gRPC status {status or 'unknown'}{': ' + message if message else ''}"
