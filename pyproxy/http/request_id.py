"""x-request-id: version 4 UUIDs (RFC 9562), made in batches because one system call serves many."""

from __future__ import annotations

import os

_BATCH = 256


class RequestIds:
    """Gives one id after the other, as bytes."""

    __slots__ = ("_ready",)

    def __init__(self) -> None:
        self._ready: list[bytes] = []

    def next(self) -> bytes:
        if not self._ready:
            self._ready = _batch()
        return self._ready.pop()


def _batch() -> list[bytes]:
    digits = os.urandom(16 * _BATCH).hex()
    made = []
    for at in range(0, 32 * _BATCH, 32):
        d = digits[at : at + 32]
        variant = "89ab"[int(d[16], 16) & 3]
        made.append(f"{d[:8]}-{d[8:12]}-4{d[13:16]}-{variant}{d[17:20]}-{d[20:]}".encode())
    return made
