"""Notices that an event loop was busy for too long with one thing (Envoy: `server.worker_0.watchdog_miss`).

It rides on a timer that the process has anyway: a tick that comes late was held up by that much.
"""

from __future__ import annotations

import logging

from pyproxy import clock
from pyproxy.telemetry.metrics import Counter

log = logging.getLogger("pyproxy.server.watchdog")

MISS = 0.2
MEGA_MISS = 1.0
"""Seconds: Envoy's defaults (envoy.config.bootstrap.v3.Watchdog)."""


class Watchdog:
    """Counts in all of `misses` and `mega_misses`: a worker's own, and those of all workers."""

    __slots__ = ("_due", "_mega_misses", "_misses", "lag")

    def __init__(self, misses: tuple[Counter, ...], mega_misses: tuple[Counter, ...]) -> None:
        self._misses = misses
        self._mega_misses = mega_misses
        self._due = 0.0
        self.lag = 0.0
        """Seconds by which the latest tick was late."""

    def tick(self, interval: float) -> None:
        """Call at every tick; `interval` is when the next one is due."""
        now = clock.monotonic()
        self.lag = max(0.0, now - self._due) if self._due else 0.0
        self._due = now + interval
        if self.lag < MISS:
            return
        for counter in self._misses:
            counter.value += 1
        if self.lag >= MEGA_MISS:
            for counter in self._mega_misses:
                counter.value += 1
        log.warning("the event loop was held up for %.3f s", self.lag)
