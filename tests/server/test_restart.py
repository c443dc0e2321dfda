from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyproxy.server.restart import LONGEST_PAUSE, SHORT_LIFE, RestartState


def test_a_child_that_lived_is_started_again_at_once() -> None:
    state = RestartState()
    assert [state.pause_after(SHORT_LIFE + 1) for _ in range(5)] == [0.0] * 5
    assert state.restarts == 5


def test_one_short_life_is_forgiven_and_more_make_it_wait_longer_each_time() -> None:
    state = RestartState()
    pauses = [state.pause_after(0.01) for _ in range(8)]
    assert pauses[0] == 0.0
    assert pauses[1:] == sorted(pauses[1:])
    assert pauses[1] > 0.0
    assert pauses[-1] == LONGEST_PAUSE


def test_a_long_life_makes_good_for_short_ones() -> None:
    state = RestartState()
    for _ in range(8):
        state.pause_after(0.0)
    assert state.pause_after(SHORT_LIFE) == 0.0
    assert state.pause_after(0.0) == 0.0


@given(st.lists(st.floats(0, 10)))
def test_a_pause_is_never_long(lives: list[float]) -> None:
    state = RestartState()
    assert all(0.0 <= state.pause_after(lived) <= LONGEST_PAUSE for lived in lives)
    assert state.restarts == len(lives)
