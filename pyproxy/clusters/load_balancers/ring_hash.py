"""RING_HASH: hosts stand at many places of a ring, a request goes to the next one from its hash (Envoy: Ring hash).

The ring is laid out as Envoy's, so that the same key finds the same host in both.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import Counter
from math import ceil

import xxhash

from pyproxy.clusters.host import Host
from pyproxy.clusters.load_balancers.murmur import murmur2_64
from pyproxy.clusters.load_balancers.weights import Share, hash_key
from pyproxy.config.cluster import HashingConfig
from pyproxy.http.message import Request


class RingHash:
    """One lookup costs a binary search. A request without a hash goes anywhere."""

    __slots__ = ("_hashes", "_hosts", "_random")

    def __init__(self, shares: list[Share], rng: random.Random, config: HashingConfig) -> None:
        self._random = rng
        ring = _ring(shares, config)
        self._hashes = [at for at, _ in ring]
        self._hosts = [shares[index].host for _, index in ring]

    def places(self) -> list[int]:
        """How many places of the ring each host has."""
        return list(Counter(self._hosts).values())

    def choose(self, request: Request) -> Host:
        info = request.info
        wanted: int = info.hash
        if wanted < 0:
            wanted = self._random.getrandbits(64)
        at = bisect_left(self._hashes, wanted)
        if at == len(self._hashes):
            at = 0
        if info.host_draw:  # as if the hosts that were turned down were not in the ring
            at = (at + info.host_draw) % len(self._hosts)
        return self._hosts[at]


def _ring(shares: list[Share], config: HashingConfig) -> list[tuple[int, int]]:
    """(hash, index of the host), sorted. The lightest host gets a whole number of places, the others what is due."""
    least = min(share.weight for share in shares)
    scale = min(ceil(least * config.least_ring) / least, float(config.most_ring))
    ring: list[tuple[int, int]] = []
    due = 0.0
    for index, share in enumerate(shares):
        key = hash_key(share.host, by_hostname=config.by_hostname).encode() + b"_"
        due += scale * share.weight
        number = 0
        while len(ring) < due:
            text = key + b"%d" % number
            ring.append((murmur2_64(text) if config.murmur else xxhash.xxh64_intdigest(text), index))
            number += 1
    ring.sort()
    return ring
