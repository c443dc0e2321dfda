from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyproxy.clusters.priorities import Loads, PriorityHealth, spread


def priority(hosts: int, healthy: int, degraded: int = 0) -> PriorityHealth:
    return PriorityHealth(hosts, hosts, healthy, degraded, hosts, healthy, degraded)


def loads(*priorities: PriorityHealth, threshold: float = 50.0) -> tuple[tuple[int, ...], tuple[int, ...]]:
    found = spread(priorities, 140, threshold)
    return found.healthy, found.degraded


def test_the_tables_of_envoys_documentation() -> None:
    """Envoy: Priority levels."""
    expected = {
        (100, 100): (100, 0),
        (72, 72): (100, 0),
        (71, 71): (99, 1),
        (50, 50): (70, 30),
        (25, 100): (35, 65),
        (25, 25): (50, 50),
    }
    for (first, second), load in expected.items():
        assert loads(priority(100, first), priority(100, second), threshold=0.0)[0] == load


def test_degraded_hosts_get_what_is_left() -> None:
    assert loads(priority(100, 50, 50)) == ((70,), (30,))
    assert loads(priority(100, 5, 95), priority(100, 1, 99)) == ((7, 1), (92, 0))
    assert loads(priority(100, 0, 100)) == ((0,), (100,))


def test_total_panic_goes_by_size() -> None:
    found = spread([priority(100, 10), priority(300, 10)], 140, 50.0)
    assert found == Loads((25, 75), (0, 0), (True, True))


def test_nobody_is_well_and_panic_is_off() -> None:
    assert spread([priority(2, 0), priority(2, 0)], 140, 0.0) == Loads((100, 0), (0, 0), (False, False))


def test_no_hosts_at_all() -> None:
    assert spread([priority(0, 0)], 140, 50.0) == Loads((100,), (0,), (True,))


def test_a_retry_leaves_what_was_tried() -> None:
    three = [priority(2, 2), priority(2, 2), priority(2, 2)]
    assert spread(three, 140, 50.0, frozenset({0})).healthy == (0, 100, 0)
    assert spread(three, 140, 50.0, frozenset({0, 1, 2})).healthy == (100, 0, 0)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=5),
    st.integers(100, 300),
    st.sampled_from((0.0, 50.0, 100.0)),
)
def test_all_load_is_spread(counts: list[tuple[int, int, int]], factor: int, threshold: float) -> None:
    priorities = [priority(well + degraded + ill, well, degraded) for well, degraded, ill in counts]
    found = spread(priorities, factor, threshold)
    assert sum(found.healthy) + sum(found.degraded) == 100
    for one, well, degraded, panic in zip(priorities, found.healthy, found.degraded, found.panic, strict=True):
        if any(p.hosts for p in priorities) and not panic and threshold:
            assert not well or one.healthy
            assert not degraded or one.degraded
