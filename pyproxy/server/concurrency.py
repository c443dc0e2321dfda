"""How many workers there are when nobody says: one for each processor that this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def worker_count(chosen: int | None) -> int:
    """`--concurrency`, or else the processors we may run on, or else what the container's quota allows."""
    if chosen is not None:
        return max(1, chosen)
    allowed = len(os.sched_getaffinity(0))
    quota = cgroup_quota(_CPU_MAX)
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota)))


def cgroup_quota(path: Path) -> float | None:
    """Processors that a cgroup v2 grants (`cpu.max`: microseconds per period), None where it sets no limit."""
    try:
        granted, period = path.read_text("ascii").split()
        return None if granted == "max" else int(granted) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
