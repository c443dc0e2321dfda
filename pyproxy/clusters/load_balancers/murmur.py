"""MurmurHash2, 64 bits, as the C++ library's std::hash has it (Austin Appleby, MurmurHash64A; Envoy: MURMUR_HASH_2)."""

from __future__ import annotations

from typing import Final

_MASK: Final = (1 << 64) - 1
_MUL: Final = 0xC6A4A7935BD1E995
_SEED: Final = 0xC70F6907


def murmur2_64(text: bytes) -> int:
    """The hash with the seed of std::hash."""
    length = len(text)
    result = _SEED ^ (length * _MUL & _MASK)
    whole = length & ~7
    for at in range(0, whole, 8):
        word = int.from_bytes(text[at : at + 8], "little") * _MUL & _MASK
        word = (word ^ word >> 47) * _MUL & _MASK
        result = (result ^ word) * _MUL & _MASK
    if length & 7:
        result = (result ^ int.from_bytes(text[whole:], "little")) * _MUL & _MASK
    result = (result ^ result >> 47) * _MUL & _MASK
    return result ^ result >> 47
