"""Earliest deadline first: a weighted order without bursts, O(log n) for each choice.

A host of weight w is due at the times 1/w, 2/w, 3/w, ...; the next host is the one that is due first. Times are
integers, and the low bits of a time are the index of its host: a heap of plain integers is half the cost of a
heap of tuples, and ties have a fixed order.
"""

from __future__ import annotations

import random
from heapq import heapify
from typing import Final

INDEX_BITS: Final = 20
INDEX_MASK: Final = (1 << INDEX_BITS) - 1
CYCLE: Final = 1 << 60
"""The time in which each host is due as many times as it weighs. Weights have 32 bits, so a step is never zero."""


def steps_of(weights: list[int]) -> list[int]:
    """The time from one turn of each host to its next."""
    assert len(weights) <= INDEX_MASK
    return [CYCLE // weight >> INDEX_BITS << INDEX_BITS for weight in weights]


def queue_from(steps: list[int], rng: random.Random) -> list[int]:
    """The heap of turns, begun at a random time of the cycle so that workers do not march in step."""
    start = rng.randrange(CYCLE)
    queue = [(start // step + 1) * step + index for index, step in enumerate(steps)]
    heapify(queue)
    return queue
