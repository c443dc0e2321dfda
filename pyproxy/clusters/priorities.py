"""How load is spread over priorities by their health (Envoy: Priority levels, Degraded endpoints, Panic threshold).

Pure arithmetic, in whole percent and with Envoy's rounding, so that the same health gives the same shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PriorityHealth:
    """The hosts of one priority. `weight`, `healthy_weight` and `degraded_weight` count hosts, or add up their weights
    (Envoy: weighted_priority_health). Hosts that are excluded are in none of the numbers but `hosts`."""

    hosts: int
    counted: int
    healthy: int
    degraded: int
    weight: int
    healthy_weight: int
    degraded_weight: int

    def healthy_percent(self, overprovisioning: int) -> int:
        return min(100, overprovisioning * self.healthy_weight // self.weight) if self.weight else 0

    def degraded_percent(self, overprovisioning: int) -> int:
        return min(100, overprovisioning * self.degraded_weight // self.weight) if self.weight else 0

    def panics(self, threshold: float) -> bool:
        """Too few are well for health to be believed."""
        well = 100.0 * (self.healthy + self.degraded) / self.counted if self.counted else 0.0
        return well < threshold


@dataclass(frozen=True, slots=True)
class Loads:
    """Percent of all requests for each priority: for its healthy hosts, for its degraded ones. A priority in panic
    gives its share to all of its hosts."""

    healthy: tuple[int, ...]
    degraded: tuple[int, ...]
    panic: tuple[bool, ...]


def spread(
    priorities: Sequence[PriorityHealth],
    overprovisioning: int,
    panic_threshold: float,
    avoid: frozenset[int] = frozenset(),
) -> Loads:
    """The shares of the priorities; those in `avoid` get none as long as another one can take it."""
    well = [priority.healthy_percent(overprovisioning) for priority in priorities]
    degraded = [priority.degraded_percent(overprovisioning) for priority in priorities]
    if avoid:
        kept_well = [0 if at in avoid else percent for at, percent in enumerate(well)]
        kept_degraded = [0 if at in avoid else percent for at, percent in enumerate(degraded)]
        if sum(kept_well) + sum(kept_degraded):
            well, degraded = kept_well, kept_degraded
    available = min(100, sum(well) + sum(degraded))
    none = (False,) * len(priorities)
    if not available and panic_threshold <= 0:
        return Loads(_only(0, len(priorities)), (0,) * len(priorities), none)
    panic = none if available == 100 else tuple(priority.panics(panic_threshold) for priority in priorities)
    if all(panic):
        return Loads(_by_size(priorities), (0,) * len(priorities), panic)
    first_healthy, healthy_load, left = _distribute(well, 100, available)
    first_degraded, degraded_load, left = _distribute(degraded, left, available)
    if left:  # what rounding has lost
        if first_healthy >= 0:
            healthy_load[first_healthy] += left
        elif first_degraded >= 0:
            degraded_load[first_degraded] += left
    return Loads(tuple(healthy_load), tuple(degraded_load), panic)


def _distribute(percents: list[int], total: int, available: int) -> tuple[int, list[int], int]:
    """(the first that can take any, the load of each, what is left)"""
    first = next((at for at, percent in enumerate(percents) if percent), -1)
    load = []
    for percent in percents:
        share = min(total, percent * 100 // available) if available else 0
        load.append(share)
        total -= share
    return first, load, total


def _by_size(priorities: Sequence[PriorityHealth]) -> tuple[int, ...]:
    """In total panic each priority gets what it has of all hosts."""
    hosts = sum(priority.hosts for priority in priorities)
    if not hosts:
        return _only(0, len(priorities))
    load = [100 * priority.hosts // hosts for priority in priorities]
    load[next(at for at, priority in enumerate(priorities) if priority.hosts)] += 100 - sum(load)
    return tuple(load)


def _only(which: int, count: int) -> tuple[int, ...]:
    return tuple(100 if at == which else 0 for at in range(count))
