"""One worker process: an event loop that carries traffic, and a thin channel through which the manager sees it.

What carries the traffic is the `DataPlane`; this file gives it a process: the loop, signals, the timer that publishes
statistics, the state that `/ready` asks for, and the way out.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import uvloop

from pyproxy.config.tap import TapConfig
from pyproxy.server.app_log import AppLog
from pyproxy.server.blueprint import WorkerSeat
from pyproxy.server.channel import Channel, ChannelError, Message
from pyproxy.server.export_notes import hand_over
from pyproxy.server.process import EXIT_CANNOT_START, EXIT_OK
from pyproxy.server.server_state import ServerState
from pyproxy.tasks import call_every, spawn
from pyproxy.telemetry.exports import Exports
from pyproxy.telemetry.live_tap import TapWish

log = logging.getLogger("pyproxy.server.worker")

FLUSH_INTERVAL = 0.25
"""Seconds between publications of statistics: a scrape is at most this old."""
GC_THRESHOLDS = (50_000, 50, 100)
"""A request makes no cyclic garbage, so a collection finds nothing: let it look rarely."""


class CannotStart(Exception):
    """The data plane cannot be built from this configuration, so starting another worker would not help."""


class Plane(Protocol):
    """What a worker runs. Only `start` may take time; it raises CannotStart."""

    async def start(self) -> None: ...
    def can_ask(self, ask: Callable[[Message, float], Awaitable[Any]]) -> None: ...
    def status(self) -> dict[str, Any]: ...
    def clusters(self, start: int, count: int) -> list[dict[str, Any]]: ...
    def resources_changed(self) -> None: ...
    def tick(self, interval: float) -> None: ...
    def outbox(self) -> Exports: ...
    def reopen_logs(self) -> None: ...
    def fail_health_checks(self, failed: bool) -> None: ...
    def ask_to_leave(self, names: list[str]) -> None: ...
    async def stop_listeners(self, names: list[str]) -> None: ...
    async def drain(self, seconds: float) -> None: ...
    async def close(self) -> None: ...


MakePlane = Callable[[asyncio.AbstractEventLoop, WorkerSeat], Plane]


class Worker:
    """The life of one worker process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seat: WorkerSeat, make_plane: MakePlane) -> None:
        self._loop = loop
        self._seat = seat
        self._app_log: AppLog = seat.blueprint.app_log
        self._state = ServerState.INITIALIZING
        self._stop = loop.create_future()
        self._drain_seconds: float | None = None
        self._plane = make_plane(loop, seat)
        self._channel = Channel(loop, seat.channel, self._answer)
        self._plane.can_ask(self._channel.ask)

    async def run(self) -> int:
        """From the first moment to the exit code."""
        self._loop.add_signal_handler(signal.SIGTERM, self._drain_and_stop)
        self._loop.add_signal_handler(signal.SIGQUIT, self._stop_now)
        self._loop.add_signal_handler(signal.SIGUSR1, self._reopen_logs)
        try:
            if not await self._start():
                return EXIT_OK
        except CannotStart as error:
            log.critical("%s", error)
            return EXIT_CANNOT_START
        stop_ticking = call_every(self._loop, FLUSH_INTERVAL, self._tick)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        self._become(ServerState.LIVE)
        await self._stop
        stop_ticking()
        self._become(ServerState.DRAINING)
        if self._drain_seconds is not None:
            await self._drain(self._drain_seconds)
        await self._plane.close()
        self._tick()
        self._channel.close()
        return EXIT_OK

    def _tick(self) -> None:
        self._plane.tick(FLUSH_INTERVAL)
        hand_over(self._plane.outbox(), self._channel)

    def __repr__(self) -> str:
        return f"<Worker {self._seat.index} {self._state.name}>"

    def _become(self, state: ServerState) -> None:
        self._state = state
        try:
            self._channel.tell({"event": "state", "state": state.name, "pid": os.getpid()})
        except ChannelError as error:
            log.warning("the manager does not hear from worker %d: %s", self._seat.index, error)

    async def _start(self) -> bool:
        """False where the worker was told to stop before it had begun to serve."""
        starting = self._loop.create_task(self._plane.start(), name="start")
        await asyncio.wait((starting, self._stop), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            return False
        await starting
        return True

    async def _drain(self, seconds: float) -> None:
        """Until nothing is open any more, the time is over, or someone is in a hurry."""
        draining = spawn(self._plane.drain(seconds), "drain")
        self._stop = self._loop.create_future()
        await asyncio.wait((draining, self._stop), return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()

    def _drain_and_stop(self) -> None:
        if self._drain_seconds is None and not self._stop.done():
            self._drain_seconds = self._seat.blueprint.stop_drain_seconds
            self._stop.set_result(None)

    def _stop_now(self) -> None:
        if not self._stop.done():
            self._stop.set_result(None)

    def _reopen_logs(self) -> None:
        self._app_log.reopen()
        self._plane.reopen_logs()

    def _answer(self, message: dict[str, Any]) -> Any:
        """What the manager asks or tells."""
        match message["op"]:
            case "status":
                return {"state": self._state.name, "pid": os.getpid(), **self._plane.status()}
            case "clusters":
                return self._plane.clusters(message["start"], message["count"])
            case "resources_changed":
                self._plane.resources_changed()
            case "log_levels":
                self._app_log.set_levels(message["levels"])
            case "fail_health_checks":
                self._plane.fail_health_checks(message["failed"])
            case "ask_to_leave":
                self._plane.ask_to_leave(message["names"])
            case "tap":
                self._plane.outbox().tap.watch(tuple(TapWish(**wish) for wish in message["wishes"]))
            case "tap_filters":
                return {"known": self._plane.outbox().taps.attach(message["id"], _tap(message["config"]))}
            case "stop_listeners":
                _ = spawn(self._plane.stop_listeners(message["names"]), "stop-listeners")
            case unknown:
                raise ValueError(f"a worker does not know {unknown!r}")
        return {}


def _tap(packed: str) -> TapConfig | None:
    """What somebody at the admin wants of tap filters. Imported then: no other worker pays for it."""
    if not packed:
        return None
    from pyproxy.config.tap_compile import unpack_tap

    return unpack_tap(packed)


def run_worker(seat: WorkerSeat, make_plane: MakePlane) -> int:
    """The body of a worker process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, uvloop.Loop)
        return runner.run(_run(loop, seat, make_plane))


async def _run(loop: asyncio.AbstractEventLoop, seat: WorkerSeat, make_plane: MakePlane) -> int:
    return await Worker(loop, seat, make_plane).run()
