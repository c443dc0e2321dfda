"""MAGLEV: a table in which every host has its share of places, and keeps most of them when others come and go.

Eisenbud et al., Maglev: A Fast and Reliable Software Network Load Balancer (NSDI 2016), listing 1; laid out as Envoy's
table, so that the same key finds the same host in both.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Final

import xxhash

from pyproxy.clusters.host import Host
from pyproxy.clusters.load_balancers.weights import Share, hash_key
from pyproxy.config.cluster import HashingConfig
from pyproxy.http.message import Request

_MASK: Final = (1 << 64) - 1


class Maglev:
    """One lookup costs a division. A request without a hash goes anywhere."""

    __slots__ = ("_random", "_size", "_table")

    def __init__(self, shares: list[Share], rng: random.Random, config: HashingConfig) -> None:
        self._random = rng
        self._size = config.table_size
        # Discovery may list the same hosts in another order: the table has to be the same (and Envoy sorts too).
        shares = sorted(shares, key=lambda share: hash_key(share.host, by_hostname=config.by_hostname))
        hosts = [share.host for share in shares]
        self._table = [hosts[index] for index in _places(shares, config)]

    def places(self) -> list[int]:
        """How many places of the table each host has."""
        return list(Counter(self._table).values())

    def choose(self, request: Request) -> Host:
        info = request.info
        wanted: int = info.hash
        if wanted < 0:
            wanted = self._random.getrandbits(64)
        if info.host_draw:  # most bits change, so that those who are turned down at one host do not meet at another
            wanted ^= _MASK - info.host_draw + 1
        return self._table[wanted % self._size]


def _places(shares: list[Share], config: HashingConfig) -> list[int]:
    """For each place of the table the index of its host."""
    size = config.table_size
    offsets: list[int] = []
    skips: list[int] = []
    for share in shares:
        key = hash_key(share.host, by_hostname=config.by_hostname).encode()
        offsets.append(xxhash.xxh64_intdigest(key) % size)
        skips.append(xxhash.xxh64_intdigest(key, 1) % (size - 1) + 1)
    weights = [share.weight for share in shares]
    heaviest = max(weights)
    targets = [0.0] * len(shares)
    table = [-1] * size
    filled = turn = 0
    while filled < size:
        turn += 1
        for index in range(len(shares)):
            if turn * weights[index] < targets[index]:
                continue
            targets[index] += heaviest
            at, skip = offsets[index], skips[index]
            while table[at] >= 0:
                at += skip
                if at >= size:
                    at -= size
            table[at] = index
            at += skip
            offsets[index] = at - size if at >= size else at
            filled += 1
            if filled == size:
                break
    return table
