"""Time and chance, in one place so that tests can set both.

`monotonic` is for durations, `wall` for dates; both in seconds.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

Monotonic = Callable[[], float]

monotonic: Monotonic = time.monotonic
wall: Callable[[], float] = time.time
rng = random.Random()

now: float = time.monotonic()
"""`monotonic` as it was when the loop callback that is running began: read it where a fresh reading would only cost.

Whatever enters from the loop (bytes, timers, finished connects) calls `tick` first.
"""

wall_offset: float = time.time() - now
"""What to add to a monotonic time to get a date. Renewed by `sync`, several times a second."""


def tick() -> float:
    """A loop callback begins: renew `now`."""
    global now
    now = monotonic()
    return now


def sync() -> None:
    """Follow changes of the wall clock."""
    global wall_offset
    wall_offset = wall() - monotonic()


def reseed() -> None:
    """Give a forked worker its own random sequence."""
    rng.seed()
