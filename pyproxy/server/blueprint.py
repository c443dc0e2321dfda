"""What the supervisor prepares before it forks, and what each child finds when it wakes up.

Everything here is made once, in the supervisor, and shared with the children copy-on-write: a restarted child starts
from the same state as the first one.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyproxy import clock
from pyproxy.config.bootstrap import BootstrapConfig
from pyproxy.server.app_log import AppLog
from pyproxy.server.channel import make_pair
from pyproxy.server.crew import CrewReport
from pyproxy.server.discovery.journal import Journal
from pyproxy.server.flags import Options
from pyproxy.server.frames import FRAME_LIMIT
from pyproxy.server.socket_transfer import make_transfer_pair, receive_sockets
from pyproxy.server.sockets import ListenSockets
from pyproxy.telemetry.logs import FLUSH_SECONDS
from pyproxy.telemetry.shared_stats import StatsArea

ENVOY_DRAIN_TIME = 600
ENVOY_FLUSH_MILLISECONDS = 10_000
DEFAULT_STOP_DRAIN = 25.0


@dataclass(slots=True)
class Pairs:
    """Both ends of every channel; index is the worker's. They stay open in the supervisor, so a restart keeps them."""

    link: tuple[socket.socket, socket.socket]
    """(supervisor's end, manager's end)"""
    workers: tuple[tuple[socket.socket, socket.socket], ...]
    """(manager's end, worker's end)"""
    opened: tuple[socket.socket, socket.socket]
    """(manager's end, supervisor's end): listen sockets that the manager has opened."""
    handed: tuple[tuple[socket.socket, socket.socket], ...]
    """(supervisor's end, worker's end): a worker's share of them."""
    notes: tuple[tuple[socket.socket, socket.socket], ...] = ()
    """(end of all others, worker's end): what workers tell each other."""

    @classmethod
    def make(cls, workers: int) -> Pairs:
        handed = tuple(make_transfer_pair() for _ in range(workers))
        notes = tuple(make_pair() for _ in range(workers))
        return cls(make_pair(), tuple(make_pair() for _ in range(workers)), make_transfer_pair(), handed, notes)

    def keep_for_worker(self, index: int) -> socket.socket:
        """In worker `index`: its own end; everything else is closed."""
        self.link[0].close()
        self.link[1].close()
        for other, (managers, workers) in enumerate(self.workers):
            managers.close()
            if other != index:
                workers.close()
        for other, (supervisors, workers) in enumerate(self.handed):
            supervisors.close()
            if other != index:
                workers.close()
        for other, (writes, reads) in enumerate(self.notes):
            (writes if other == index else reads).close()
        for end in self.opened:
            end.close()
        return self.workers[index][1]

    def empty_for_worker(self, index: int) -> None:
        """Before worker `index` is started again: what the dead one did not read is not for its successor."""
        _empty(self.workers[index][1])
        _close_received(self.handed[index][1])
        _empty(self.notes[index][1])

    def empty_for_manager(self) -> None:
        """Before the manager is started again."""
        for sock in (self.link[1], *(managers for managers, _ in self.workers)):
            _empty(sock)
        _close_received(self.opened[1])

    def keep_for_manager(self) -> None:
        """In the manager: its end of each."""
        self.link[0].close()
        for _, workers in self.workers:
            workers.close()
        self.opened[1].close()
        for ends in (*self.handed, *self.notes):
            for end in ends:
                end.close()


@dataclass(frozen=True, slots=True)
class StatsAreas:
    """Shared memory for statistics: one area per process that counts. It outlives them."""

    workers: tuple[StatsArea, ...]
    manager: StatsArea

    @classmethod
    def make(cls, workers: int) -> StatsAreas:
        return cls(tuple(StatsArea(f"worker-{index}") for index in range(workers)), StatsArea("manager"))


@dataclass(frozen=True, slots=True)
class UnhonouredField:
    """A field of the configuration that is known and not honoured. `place` is `file:line:column`."""

    place: str
    path: str
    field: str
    severe: bool

    @property
    def effect(self) -> str:
        return "severe" if self.severe else "harmless"


@dataclass(slots=True)
class Blueprint:
    """The whole proxy, ready to be forked."""

    options: Options
    message: Any
    """The bootstrap as protobuf, for `/config_dump`; None where the proxy was built from values alone."""
    bootstrap: BootstrapConfig
    unhonoured: tuple[UnhonouredField, ...]
    app_log: AppLog
    sockets: ListenSockets
    pairs: Pairs
    stats_areas: StatsAreas
    admin_socket: socket.socket | None = None
    journal: Journal = field(default_factory=Journal)
    """What came from control planes and files."""
    started: float = field(default_factory=clock.monotonic)
    started_wall: float = field(default_factory=clock.wall)

    @property
    def workers(self) -> int:
        return len(self.pairs.workers)

    @property
    def needs_manager(self) -> bool:
        """Somebody asks (admin), or somebody has to be asked (control planes, files)."""
        return self.admin_socket is not None or self.bootstrap.is_dynamic

    @property
    def stop_drain_seconds(self) -> float:
        """How long open requests may take when the proxy stops.

        Envoy's default of ten minutes is for listeners that go while the process stays. A whole process has what its
        surroundings give it: Kubernetes kills after 30 s. A value that someone chose is taken as it is.
        """
        chosen = float(self.options.drain_time_s)
        return DEFAULT_STOP_DRAIN if chosen == ENVOY_DRAIN_TIME else chosen

    @property
    def log_flush_seconds(self) -> float:
        """How long an access log line may wait. Envoy's default is ten seconds, ours is one."""
        chosen = self.options.file_flush_interval_msec
        return FLUSH_SECONDS if chosen == ENVOY_FLUSH_MILLISECONDS else chosen / 1000

    def close_admin(self) -> None:
        if self.admin_socket is not None:
            self.admin_socket.close()

    def close(self) -> None:
        """In the supervisor, at the very end."""
        self.sockets.close()
        self.close_admin()
        self.journal.close()
        for pair in (self.pairs.link, *self.pairs.workers, self.pairs.opened, *self.pairs.handed, *self.pairs.notes):
            for sock in pair:
                sock.close()


@dataclass(frozen=True, slots=True)
class WorkerSeat:
    """A worker process in its first moment: which one it is, and its end of the channel."""

    index: int
    blueprint: Blueprint
    channel: socket.socket


@dataclass(frozen=True, slots=True)
class ManagerSeat:
    """The manager process in its first moment, with what the supervisor knows."""

    blueprint: Blueprint
    crew: CrewReport
    memory: Mapping[str, Any]
    """What an earlier manager asked the supervisor to remember."""


RunWorker = Callable[[WorkerSeat], int]
RunManager = Callable[[ManagerSeat], int]


def _close_received(receiver: socket.socket) -> None:
    for _, sockets in receive_sockets(receiver):
        for sock in sockets:
            sock.close()


def _empty(sock: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while sock.recv(FRAME_LIMIT):
            pass
