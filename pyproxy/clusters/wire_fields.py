"""Reads the fields of a small protobuf message without knowing its type (Protocol Buffers: Encoding).

For messages that upstreams send (health, load): the protobuf library belongs to the configuration.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""

Field = tuple[int, int, int | bytes]
"""(number, wire type, value); the bytes of fixed-width numbers are little-endian."""


class NotAMessage(ValueError):
    """The bytes are no message."""


def fields_of(message: bytes) -> Iterator[Field]:
    """In the order in which they are there. Raises NotAMessage."""
    at, size = 0, len(message)
    while at < size:
        tag, at = _varint(message, at)
        kind = tag & 7
        value: int | bytes
        if kind == VARINT:
            value, at = _varint(message, at)
        else:
            if kind == BYTES:
                length, at = _varint(message, at)
            elif kind in (FIXED64, FIXED32):
                length = 8 if kind == FIXED64 else 4
            else:
                raise NotAMessage(f"wire type {kind}")
            if at + length > size:
                raise NotAMessage("it ends too early")
            value, at = message[at : at + length], at + length
        yield tag >> 3, kind, value


def double_of(value: bytes) -> float:
    """The number in a FIXED64 field."""
    number: float = struct.unpack("<d", value)[0]
    return number


def varint(number: int) -> bytes:
    """A number as it is written."""
    said = bytearray()
    while number >= 0x80:
        said.append(number & 0x7F | 0x80)
        number >>= 7
    said.append(number)
    return bytes(said)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """(number, where it ends)"""
    number = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
    raise NotAMessage("a number has no end")
