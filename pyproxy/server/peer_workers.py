"""Notes from worker to worker, over socket pairs that the supervisor keeps: they need no manager, and survive restarts.

Each worker has one socket to read from, and the other ends of those of all others. Notes of one turn of the loop go out
together. A worker that does not read loses notes: they are repeated, or made up for (clusters.peers).
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from pyproxy.clusters.peers import Note, Topic

log = logging.getLogger("pyproxy.server.peer_workers")

_PIECE: Final = 200
"""Notes in one message: some 40 KB, less than a socket takes at once."""
_MOST_BYTES: Final = 1 << 20
_MOST_AT_ONCE: Final = 64
_PATIENCE: Final = 0.02


class PeerWorkers:
    """Implements `clusters.peers.Peers`. `on_note` is called with each note that comes."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        index: int,
        receiver: socket.socket,
        senders: Sequence[socket.socket],
        on_note: Callable[[Note], None],
    ) -> None:
        self.index = index
        self._loop = loop
        self._receiver = receiver
        self._senders = tuple(senders)
        self._on_note = on_note
        self._waiting: list[list[Any]] = []
        self.patience = _PATIENCE * (1 + index) if senders else 0.0
        self.lost = 0
        """Messages that nobody took."""
        if self._senders:
            loop.add_reader(receiver, self._readable)

    def tell(self, topic: Topic, cluster: str, host: str = "", values: list[Any] | None = None) -> None:
        if not self._senders:
            return
        if not self._waiting:
            self._loop.call_soon(self._send)
        self._waiting.append([self.index, topic.value, cluster, host, values or []])

    async def learn(self) -> None:
        """Hear what the others know, if they are there: a worker that is started anew is not to try hosts that are
        out."""
        if self._senders:
            self.tell(Topic.WANTED, "")
            await asyncio.sleep(_PATIENCE)

    def close(self) -> None:
        if self._senders:
            self._send()
            self._loop.remove_reader(self._receiver)
            self._senders = ()

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for at in range(0, len(waiting), _PIECE):
            data = json.dumps(waiting[at : at + _PIECE], separators=(",", ":")).encode()
            for sender in self._senders:
                try:
                    sender.send(data)
                except OSError:  # it does not read, or starts anew
                    self.lost += 1

    def _readable(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                data = self._receiver.recv(_MOST_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                log.error("workers are not heard any more: %s", error)
                self._loop.remove_reader(self._receiver)
                return
            if not data:
                return
            for sender, topic, cluster, host, values in json.loads(data):
                self._on_note(Note(sender, Topic(topic), cluster, host, values))
