"""A small one of `make soak`: bodies of random sizes at the same time, with resets, byte for byte."""

from __future__ import annotations

import pytest

from drills.soak import ENGINES, soak


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_not_reset_comes_back_byte_for_byte(engine: str, seed: int) -> None:
    tally, _, _ = soak(300, 6, seed, engine)
    assert tally.wrong == []
    assert tally.whole + tally.reset_by_us + tally.reset_by_upstream == tally.streams
    assert tally.whole > 200
    assert tally.open_at_once > 250
    assert tally.reset_by_us > 10
    assert tally.reset_by_upstream > 10
