"""x-request-id: version 4 UUIDs (RFC 9562), made in batches because one system call serves many."""

from __future__ import annotations

import os
from typing import Final

_BATCH: Final = 256
_BYTES: Final = 16
_DIGITS: Final = 32
_LENGTH: Final = 36
_PLACES: Final = [place for place in range(_LENGTH) if place not in (8, 13, 18, 23)]
"""Where the digits go; between them are dashes."""
_VERSION: Final = bytes([0x40 | byte & 0x0F for byte in range(256)])
_VARIANT: Final = bytes([0x80 | byte & 0x3F for byte in range(256)])


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
    """All at once: the first digits of all ids, then the second ones, and so on."""
    drawn = bytearray(os.urandom(_BYTES * _BATCH))
    drawn[6::_BYTES] = drawn[6::_BYTES].translate(_VERSION)
    drawn[8::_BYTES] = drawn[8::_BYTES].translate(_VARIANT)
    digits = drawn.hex().encode()
    text = bytearray(b"-" * (_LENGTH * _BATCH))
    for number, place in enumerate(_PLACES):
        text[place::_LENGTH] = digits[number::_DIGITS]
    whole = bytes(text)
    return [whole[at : at + _LENGTH] for at in range(0, len(whole), _LENGTH)]
