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


def reseed() -> None:
    """Give a forked worker its own random sequence."""
    rng.seed()
