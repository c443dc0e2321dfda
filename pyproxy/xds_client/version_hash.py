"""The number that stands for a version in the statistics: xxHash64 with seed 0, as in Envoy."""

from __future__ import annotations

from typing import Final

_1: Final = 0x9E3779B185EBCA87
_2: Final = 0xC2B2AE3D27D4EB4F
_3: Final = 0x165667B19E3779F9
_4: Final = 0x85EBCA77C2B2AE63
_5: Final = 0x27D4EB2F165667C5
_MASK: Final = 0xFFFFFFFFFFFFFFFF


def xxh64(data: bytes) -> int:
    """Versions are short: this is not made for long data. https://github.com/Cyan4973/xxHash/blob/dev/doc"""
    length, at = len(data), 0
    if length >= 32:
        lanes = [(_1 + _2) & _MASK, _2, 0, -_1 & _MASK]
        while at + 32 <= length:
            for lane in range(4):
                lanes[lane] = _round(lanes[lane], int.from_bytes(data[at : at + 8], "little"))
                at += 8
        turns = zip(lanes, (1, 7, 12, 18), strict=True)
        total = sum(_turn(lane, bits) for lane, bits in turns) & _MASK
        for lane in lanes:
            total = ((total ^ _round(0, lane)) * _1 + _4) & _MASK
    else:
        total = _5
    total = (total + length) & _MASK
    while at + 8 <= length:
        total = (_turn(total ^ _round(0, int.from_bytes(data[at : at + 8], "little")), 27) * _1 + _4) & _MASK
        at += 8
    if at + 4 <= length:
        total = (_turn(total ^ (int.from_bytes(data[at : at + 4], "little") * _1) & _MASK, 23) * _2 + _3) & _MASK
        at += 4
    for byte in data[at:]:
        total = (_turn(total ^ (byte * _5) & _MASK, 11) * _1) & _MASK
    total = ((total ^ total >> 33) * _2) & _MASK
    total = ((total ^ total >> 29) * _3) & _MASK
    return total ^ total >> 32


def _round(lane: int, word: int) -> int:
    return (_turn((lane + word * _2) & _MASK, 31) * _1) & _MASK


def _turn(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & _MASK


def signed(value: int) -> int:
    """The same 64 bits as the statistics keep them, which count with a sign."""
    return value - (1 << 64) if value >> 63 else value
