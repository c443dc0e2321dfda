"""The supervisor's end of its channel to the manager: no event loop, and nothing that could wait.

The manager asks for things that only the supervisor can do; the supervisor reports what became of its children.
"""

from __future__ import annotations

import logging
import socket
from typing import Any

from pyproxy.server.frames import FRAME_LIMIT, Assembler, Envelope, Kind, encode

log = logging.getLogger("pyproxy.server.link")


class Link:
    """Messages in whole frames; what cannot be sent now is dropped, because reports are repeated."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._assembler = Assembler()
        self._asker = 0
        self._serial = 0

    def fileno(self) -> int:
        return self._sock.fileno()

    def tell(self, body: dict[str, Any]) -> bool:
        """Whether the whole message was handed over."""
        self._serial = (self._serial + 1) & 0xFFFFFFFF
        return self._send(Envelope(Kind.NOTE, self._asker, self._serial, body))

    def answer(self, question: Envelope, body: Any) -> None:
        if question.kind is Kind.REQUEST:
            self._send(Envelope(Kind.REPLY, question.asker, question.serial, body))

    def received(self) -> list[Envelope]:
        """Everything that came since the last call."""
        envelopes: list[Envelope] = []
        while True:
            try:
                envelope = self._assembler.feed(self._sock.recv(FRAME_LIMIT))
            except BlockingIOError:
                return envelopes
            except (OSError, ValueError):
                log.exception("the channel to the manager is broken")
                return envelopes
            if envelope is not None:
                envelopes.append(envelope)

    def _send(self, envelope: Envelope) -> bool:
        try:
            for frame in encode(envelope):
                self._sock.send(frame)
        except OSError as error:
            log.debug("the manager did not take a message: %s", error)
            return False
        return True
