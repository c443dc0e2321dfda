from __future__ import annotations

import pytest

from pyproxy import clock
from pyproxy.server.watchdog import Watchdog
from pyproxy.telemetry.metrics import Counter


@pytest.fixture
def counters() -> dict[str, Counter]:
    return {name: Counter(name) for name in ("own", "all", "own_mega", "all_mega")}


@pytest.mark.parametrize(
    ("late", "misses", "mega_misses"), [(0.0, 0, 0), (0.19, 0, 0), (0.21, 1, 0), (0.9, 1, 0), (1.1, 1, 1), (60.0, 1, 1)]
)
def test_a_tick_that_comes_late_is_counted(
    monkeypatch: pytest.MonkeyPatch, counters: dict[str, Counter], late: float, misses: int, mega_misses: int
) -> None:
    now = 100.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    watchdog = Watchdog((counters["own"], counters["all"]), (counters["own_mega"], counters["all_mega"]))
    watchdog.tick(0.25)
    now += 0.25 + late
    watchdog.tick(0.25)
    now += 0.25
    watchdog.tick(0.25)
    assert (counters["own"].value, counters["all"].value) == (misses, misses)
    assert (counters["own_mega"].value, counters["all_mega"].value) == (mega_misses, mega_misses)
