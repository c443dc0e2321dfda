"""The directory of a shared statistics area: an append-only run of records that give names to value slots.

A writer appends, any number of readers follow. A name is stored relative to its scope (`cluster.blue`), so a name
costs its own bytes and 16 more. Every record begins on 8 bytes:

    kind: u8 | zero: u8 | length of the text: u16 | a: u32 | b: u32 | c: u32 | text, padded to 8 bytes

    TABLE      a = table                                          c = bytes of the names that a block of stats may have
    SCOPE      a = scope, b = table (0: none)                     text = prefix
    COUNTER, GAUGE, MIRRORED_*   a = scope, b = slot              text = name within the scope
    HISTOGRAM  a = scope, b = histogram                           text = name within the scope
    BIN        a = histogram, b = slot, c = number of the bin
    TEXT       a = scope, c = bytes of the value                  text = name, then the value; the last one counts
    USED       b = slot of a gauge that has been set
    REMOVED    a = scope that is gone with all its slots, which may be given out again
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

_HEAD = struct.Struct("<BBHIII")


class Kind(IntEnum):
    """What a record says. MIRRORED: every worker has the same value, so workers are merged by maximum, not by sum."""

    TABLE = 1
    SCOPE = 2
    COUNTER = 3
    GAUGE = 4
    MIRRORED_COUNTER = 5
    MIRRORED_GAUGE = 6
    HISTOGRAM = 7
    BIN = 8
    TEXT = 9
    USED = 10
    REMOVED = 11


class Record(NamedTuple):
    kind: Kind
    text: str
    a: int
    b: int
    c: int
    payload: str


def pack(kind: Kind, text: str = "", a: int = 0, b: int = 0, c: int = 0, payload: bytes = b"") -> bytes:
    """One record. `c` is the size of the payload where there is one."""
    name = text.encode()
    body = name + payload
    padding = b"\0" * (-len(body) % 8)
    return _HEAD.pack(kind, 0, len(name), a, b, len(payload) if payload else c) + body + padding


def unpack(data: bytes) -> Iterator[Record]:
    """All records of a run that ends on a record's end."""
    at = 0
    while at < len(data):
        number, _, length, a, b, c = _HEAD.unpack_from(data, at)
        kind = Kind(number)
        at += _HEAD.size
        end = at + length
        name = data[at:end].decode()
        payload = ""
        if kind is Kind.TABLE or kind is Kind.TEXT:
            payload = data[end : end + c].decode()
            end += c
        yield Record(kind, name, a, b, c, payload)
        at = end + (at - end) % 8
