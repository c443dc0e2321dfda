"""A region fails, then another, then all is well again. Scenes end by what is seen, not by the clock."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from examples.demo.access_logs import Line
from examples.failover.regions import World

PATIENCE = 120.0
"""Seconds that a scene may take longer than it is meant to; a busy machine takes its time."""
ENOUGH = 100
"""Requests that a scene is judged by."""

Shares = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Scene:
    """`failing` are hosts, zones and regions; `good` says whether it has come to where requests are to go."""

    text: str
    failing: tuple[str, ...]
    good: Callable[[Shares], bool]


def _in_eu(shares: Shares) -> bool:
    """Three of four in one zone; at a hundred requests 15 % are three and a half standard deviations."""
    return abs(shares.get("eu-a", 0.0) - 0.75) < 0.15 and abs(shares.get("eu-b", 0.0) - 0.25) < 0.15


def _eu_with_one_less(shares: Shares) -> bool:
    """A zone that lost half of its hosts gets less: 1.4 times its health, so 75 x 0.7 against 25."""
    return shares.get("eu-a", 0.0) + shares.get("eu-b", 0.0) > 0.97 and shares.get("eu-a", 0.0) > 0.5


SCENES = (
    Scene("all is well: eu serves, its zones by weight 75/25", (), _in_eu),
    Scene("a host of eu-a fails: the others of eu do its work", ("eu-a-1",), _eu_with_one_less),
    Scene("all of eu fails: us serves", ("eu",), lambda shares: shares.get("us-a", 0.0) > 0.85),
    Scene("us fails too: ap serves", ("eu", "us"), lambda shares: shares.get("ap-a", 0.0) > 0.85),
    Scene("all are well again: eu serves", (), _in_eu),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen of a scene."""

    scene: Scene
    shares: Shares
    seconds: float
    """Until it had come to that."""

    @property
    def good(self) -> bool:
        return self.scene.good(self.shares)


class Story:
    """Plays the scenes once with `play`, or again and again with `repeat`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.scene = SCENES[0]
        self.outcomes: list[Outcome] = []
        self.told: deque[tuple[str, str]] = deque(maxlen=50)

    async def play(self, duration: float) -> None:
        """Within about so many seconds, longer if it takes longer."""
        self.outcomes.clear()
        for scene in SCENES:
            self.scene = scene
            self.told.append((f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3], scene.text))
            self._world.fail(*scene.failing)
            began = time.monotonic()
            self.outcomes.append(await self._outcome(scene, began))
            await asyncio.sleep(max(0.0, duration / len(SCENES) - (time.monotonic() - began)))

    async def repeat(self, duration: float) -> None:
        """Until cancelled."""
        while True:
            await self.play(duration)

    async def _outcome(self, scene: Scene, began: float) -> Outcome:
        """Once the last hundred requests went where they are to go, or when patience ends."""
        while True:
            lines = self._world.logs.last(lambda line: line.read >= began, PATIENCE)[-ENOUGH:]
            outcome = Outcome(scene, self.shares(lines), time.monotonic() - began)
            if (len(lines) == ENOUGH and outcome.good) or outcome.seconds > PATIENCE:
                return outcome
            await asyncio.sleep(0.1)

    def shares(self, lines: list[Line]) -> dict[str, float]:
        """By zone: who answered."""
        zones = (self._world.zone_of.get(str(line.fields["upstream"])) for line in lines)
        counts = Counter(zone.name for zone in zones if zone is not None)
        return {name: count / len(lines) for name, count in counts.items()}
