"""How processes of one proxy put messages into packets: JSON, cut into frames that fit a `SOCK_SEQPACKET`.

The sockets of a worker outlive it: the supervisor holds both ends, so a restarted worker finds the same channel. Packet
boundaries make that sound, because a process that is killed in the middle of a message leaves whole frames behind, and
an unfinished message is dropped when the next one begins.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

PAYLOAD_LIMIT = 60_000
FRAME_LIMIT = PAYLOAD_LIMIT + 64

_HEADER = struct.Struct("!IIBB")


class Kind(IntEnum):
    NOTE = 0
    REQUEST = 1
    REPLY = 2
    FAILURE = 3


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message. `asker` and `serial` tie a reply to its request, also when an asker was restarted in between."""

    kind: Kind
    asker: int
    serial: int
    body: Any


def encode(envelope: Envelope) -> list[bytes]:
    """The frames of a message, in order."""
    payload = json.dumps(envelope.body, separators=(",", ":")).encode()
    pieces = [payload[at : at + PAYLOAD_LIMIT] for at in range(0, len(payload), PAYLOAD_LIMIT)]
    last = len(pieces) - 1
    return [
        _HEADER.pack(envelope.asker, envelope.serial, envelope.kind, index == last) + piece
        for index, piece in enumerate(pieces)
    ]


class Assembler:
    """Makes messages of frames."""

    __slots__ = ("_key", "_pieces")

    def __init__(self) -> None:
        self._key: tuple[int, int, int] | None = None
        self._pieces: list[bytes] = []

    def feed(self, frame: bytes) -> Envelope | None:
        """The message that this frame completes, or None. Raises ValueError for what is not a frame."""
        if len(frame) < _HEADER.size:
            raise ValueError("a frame is shorter than its header")
        asker, serial, kind, last = _HEADER.unpack_from(frame)
        key = (asker, serial, kind)
        if key != self._key:
            self._key = key
            self._pieces = []
        self._pieces.append(frame[_HEADER.size :])
        if not last:
            return None
        payload = b"".join(self._pieces)
        self._key = None
        self._pieces = []
        return Envelope(Kind(kind), asker, serial, json.loads(payload))
