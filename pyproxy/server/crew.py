"""The children of the supervisor, as it tells the manager about them: plain data that goes through the channel."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Phase(Enum):
    """What the supervisor is doing."""

    SERVING = "serving"
    DRAINING = "draining"
    """Told to stop: workers finish what they have."""
    ENDING = "ending"
    """The workers are gone, the manager is told to go."""


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One worker slot. `pid` 0 means that it is not running."""

    index: int
    pid: int = 0
    restarts: int = 0
    last_ending: str = ""


@dataclass(frozen=True, slots=True)
class CrewReport:
    """All of them. Always sent whole: a report that gets lost is made good by the next one."""

    phase: Phase = Phase.SERVING
    workers: tuple[WorkerReport, ...] = ()
    manager_restarts: int = 0

    def as_message(self) -> dict[str, Any]:
        return {
            "crew": [[w.index, w.pid, w.restarts, w.last_ending] for w in self.workers],
            "phase": self.phase.value,
            "manager_restarts": self.manager_restarts,
        }

    def running(self) -> int:
        """How many workers there are at the moment."""
        return sum(1 for worker in self.workers if worker.pid)

    @classmethod
    def of_message(cls, message: dict[str, Any]) -> CrewReport:
        workers = tuple(WorkerReport(*fields) for fields in message["crew"])
        return cls(Phase(message["phase"]), workers, message["manager_restarts"])
