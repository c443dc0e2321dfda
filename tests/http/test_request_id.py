"""Ids of requests are UUIDs of version 4, each another."""

from __future__ import annotations

import uuid

from pyproxy.http.request_id import RequestIds


def test_ids_are_random_uuids() -> None:
    ids = RequestIds()
    made = [ids.next() for _ in range(1000)]
    assert len(set(made)) == len(made)
    for one in made:
        parsed = uuid.UUID(one.decode())
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)
        assert str(parsed).encode() == one


def test_every_bit_that_is_free_is_drawn() -> None:
    ids = RequestIds()
    ones, zeros = 0, 0
    for _ in range(1000):
        bits = uuid.UUID(ids.next().decode()).int
        ones, zeros = ones | bits, zeros | ~bits
    fixed = (0xF << 76) | (0x3 << 62)
    assert ones & zeros & ((1 << 128) - 1) == ((1 << 128) - 1) & ~fixed
