from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from pyproxy.clusters.load_balancers.edf import CYCLE, INDEX_MASK, queue_from, steps_of


@given(weights=st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=50), seed=st.integers(0, 999))
def test_every_host_waits_at_most_one_step_for_its_first_turn(weights: list[int], seed: int) -> None:
    steps = steps_of(weights)
    start = random.Random(seed).randrange(CYCLE)
    queue = queue_from(steps, random.Random(seed))
    assert sorted(turn & INDEX_MASK for turn in queue) == list(range(len(weights)))
    for turn in queue:
        step = steps[turn & INDEX_MASK]
        assert step > 0
        assert start < turn <= start + step + INDEX_MASK
