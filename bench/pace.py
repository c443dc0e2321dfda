"""How fast the CPUs are right now: a fixed piece of computing, timed by its own CPU clock.

On a virtual machine a neighbour on the other hyper-thread makes every instruction up to twice as dear, and no counter
of ours says so. A loop that touches no memory and makes no syscall does: whatever it takes beyond its best is not ours.
"""

import math
import os
import time
from collections.abc import Sequence

ROUNDS, LOOPS = 5, 60_000
LEARNING_SECONDS = 1.0
CALM = 1.15


class Pace:
    """Takes readings, and knows the best one that these CPUs ever gave."""

    def __init__(self, cpus: Sequence[int]) -> None:
        self.cpus = cpus
        self.best = math.inf
        end = time.monotonic() + LEARNING_SECONDS
        while time.monotonic() < end:
            self.read()

    def read(self) -> int:
        """Nanoseconds that the loop takes on the slower of the CPUs."""
        allowed = os.sched_getaffinity(0)
        try:
            return max(self._reading(cpu) for cpu in self.cpus)
        finally:
            os.sched_setaffinity(0, allowed)

    def is_calm(self, reading: int) -> bool:
        """Whether nothing but us seems to use the core."""
        return reading <= self.best * CALM

    def _reading(self, cpu: int) -> int:
        os.sched_setaffinity(0, {cpu})
        rounds = [_spin() for _ in range(ROUNDS)]
        self.best = min(self.best, *rounds)
        return sum(rounds) // ROUNDS


def _spin() -> int:
    begin = time.thread_time_ns()
    for _ in range(LOOPS):
        pass
    return time.thread_time_ns() - begin
