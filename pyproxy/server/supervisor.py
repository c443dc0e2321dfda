"""The process that the user started: it opens the sockets, forks the others, keeps them alive and stops them.

It has no event loop and no threads, so it can fork at any time; as process 1 of a container it also reaps orphans.
One *manager* speaks to operators (and later to the control plane); the *workers* carry traffic. Whatever it does for
long, it does in `select`.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import os
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pyproxy import clock
from pyproxy.server import process
from pyproxy.server.blueprint import Blueprint, ManagerSeat, RunManager, RunWorker, WorkerSeat
from pyproxy.server.crew import CrewReport, Phase, WorkerReport
from pyproxy.server.export_notes import exports_something
from pyproxy.server.frames import Envelope
from pyproxy.server.link import Link
from pyproxy.server.process import EXIT_CANNOT_START, Child, Ending
from pyproxy.server.restart import RestartState
from pyproxy.server.signals import SignalPipe
from pyproxy.server.socket_transfer import receive_sockets, send_sockets
from pyproxy.telemetry.shared_stats import StatsArea

log = logging.getLogger("pyproxy.server.supervisor")

GRACE_AFTER_DRAIN = 2.0
"""Seconds that workers may take to end once their drain is over, before they are killed."""
MANAGER_GRACE = 2.0
EXIT_FORCED = 128


@dataclass(slots=True)
class Seat:
    """A place that a child fills. `due` is when the next one is to be started, None while one runs."""

    name: str
    body: Callable[[], int]
    area: StatsArea
    child: Child | None = None
    due: float | None = 0.0
    state: RestartState = field(default_factory=RestartState)
    last_ending: str = ""


class Supervisor:
    """One proxy. `run` returns the exit code."""

    def __init__(self, blueprint: Blueprint, run_worker: RunWorker, run_manager: RunManager) -> None:
        self._blueprint = blueprint
        self._run_worker = run_worker
        self._run_manager = run_manager
        self._signals = SignalPipe()
        self._link = Link(blueprint.pairs.link[0])
        self._phase = Phase.SERVING
        self._deadline: float | None = None
        self._exit_code = process.EXIT_OK
        self._report_owed = False
        self._memory: dict[str, Any] = {}
        self._manager = Seat("pyproxy-manager", self._manager_body, blueprint.stats_areas.manager)
        if not (blueprint.needs_manager or exports_something(blueprint.bootstrap)):
            self._manager.due = None
        self._workers = [self._worker_seat(index) for index in range(blueprint.workers)]

    def run(self) -> int:
        """Serve until told to stop, and until every child has ended."""
        gc.collect()
        gc.freeze()
        self._start_due()
        log.info(
            "started: supervisor %d, manager %s, workers %s",
            os.getpid(),
            self._manager.child.pid if self._manager.child else "none (nothing to do for one)",
            " ".join(str(seat.child.pid) for seat in self._workers if seat.child),
        )
        poller = select.poll()
        poller.register(self._signals, select.POLLIN)
        poller.register(self._link, select.POLLIN)
        while self._advance():
            poller.poll(self._milliseconds_to_wait())
            for number in self._signals.taken():
                self._handle(number)
            self._hear()
            self._reap()
            self._start_due()
            if self._report_owed:
                self._report()
        self._signals.close()
        self._blueprint.close()
        log.info("exiting")
        return self._exit_code

    # The children

    def _worker_seat(self, index: int) -> Seat:
        area = self._blueprint.stats_areas.workers[index]
        return Seat(f"pyproxy-wrk:{index}", lambda: self._worker_body(index), area)

    def _worker_body(self, index: int) -> int:
        blueprint = self._blueprint
        blueprint.sockets.close_except(index)
        blueprint.close_admin()
        return self._run_worker(WorkerSeat(index, blueprint, blueprint.pairs.keep_for_worker(index)))

    def _manager_body(self) -> int:
        self._blueprint.sockets.close()
        self._blueprint.pairs.keep_for_manager()
        return self._run_manager(ManagerSeat(self._blueprint, self._crew(), self._memory))

    def _start_due(self) -> None:
        now = clock.monotonic()
        for index, seat in enumerate([*self._workers, self._manager]):
            if seat.due is None or seat.due > now:
                continue
            if seat is self._manager:
                self._blueprint.pairs.empty_for_manager()
            else:
                self._blueprint.pairs.empty_for_worker(index)
            seat.due = None
            seat.child = process.start(seat.name, seat.body, self._signals)
            self._report_owed = True

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            seat = next((s for s in [*self._workers, self._manager] if s.child and s.child.pid == pid), None)
            if seat is None:
                log.debug("reaped an orphan, pid %d: %s", pid, Ending.of_status(status))
            else:
                self._bury(seat, Ending.of_status(status))

    def _bury(self, seat: Seat, ending: Ending) -> None:
        """A child has ended: plan its successor, unless this is how it should be."""
        child = seat.child
        assert child is not None
        seat.child = None
        seat.last_ending = str(ending)
        seat.area.bury()
        self._report_owed = True
        if self._phase is not Phase.SERVING and (seat is not self._manager or self._phase is Phase.ENDING):
            return
        if ending.code == EXIT_CANNOT_START and seat.state.restarts == 0 and self._phase is Phase.SERVING:
            log.critical("%s (pid %d) cannot start with this configuration: stopping", child.name, child.pid)
            self._exit_code = process.EXIT_CRASHED
            self._stop("a process cannot start")
            return
        lived = clock.monotonic() - child.started
        pause = seat.state.pause_after(lived)
        seat.due = clock.monotonic() + pause
        log.error(
            "%s (pid %d) ended after %.3f s: %s; starting another one %s (restart %d)",
            child.name,
            child.pid,
            lived,
            ending,
            f"in {pause:.2f} s" if pause else "now",
            seat.state.restarts,
        )

    # Stopping

    def _advance(self) -> bool:
        """Go from one phase to the next where it is time. False when everything has ended."""
        workers = [seat.child for seat in self._workers if seat.child]
        overdue = self._deadline is not None and clock.monotonic() >= self._deadline
        if self._phase is Phase.DRAINING and not workers:
            self._phase = Phase.ENDING
            self._deadline = clock.monotonic() + MANAGER_GRACE
            self._manager.due = None
            self._send(self._manager.child, signal.SIGQUIT)
        elif self._phase is Phase.DRAINING and overdue:
            log.warning("killing %d workers that have not ended in time", len(workers))
            self._deadline = None
            for child in workers:
                self._send(child, signal.SIGKILL)
        elif self._phase is Phase.ENDING and overdue:
            self._deadline = None
            self._send(self._manager.child, signal.SIGKILL)
        return self._phase is not Phase.ENDING or self._manager.child is not None

    def _stop(self, why: str) -> None:
        """The first call drains, the second does not wait for it."""
        workers = [seat.child for seat in self._workers if seat.child]
        if self._phase is Phase.SERVING:
            seconds = self._blueprint.stop_drain_seconds
            log.warning("%s: stopping; open requests get up to %g s to finish", why, seconds)
            self._phase = Phase.DRAINING
            self._deadline = clock.monotonic() + seconds + GRACE_AFTER_DRAIN
            self._blueprint.sockets.retire()
            for seat in self._workers:
                seat.due = None
            number = signal.SIGTERM
        else:
            log.warning("%s: stopping at once", why)
            self._exit_code = self._exit_code or EXIT_FORCED
            self._deadline = min(self._deadline or math.inf, clock.monotonic() + GRACE_AFTER_DRAIN)
            number = signal.SIGQUIT
        self._report()
        for child in workers:
            self._send(child, number)

    def _handle(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT:
                self._stop(f"caught {number.name}")
                if self._exit_code == EXIT_FORCED:
                    self._exit_code = EXIT_FORCED + number
            case signal.SIGUSR1:
                self._reopen_logs()
            case signal.SIGHUP:
                log.info("SIGHUP is ignored")
            case _:
                pass

    def _reopen_logs(self) -> None:
        self._blueprint.app_log.reopen()
        for seat in [*self._workers, self._manager]:
            self._send(seat.child, signal.SIGUSR1)

    def _send(self, child: Child | None, number: signal.Signals) -> None:
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, number)

    # The manager

    def _hear(self) -> None:
        for envelope in self._link.received():
            self._obey(envelope)

    def _obey(self, envelope: Envelope) -> None:
        body: dict[str, Any] = envelope.body
        match body.get("op"):
            case "stop":
                self._stop("asked by the admin")
            case "reopen_logs":
                self._reopen_logs()
            case "log_levels":
                self._blueprint.app_log.set_levels(body["levels"])
            case "remember":
                self._memory.update(body["memory"])
            case "keep_sockets":
                self._keep_sockets()
            case "close_listeners":
                self._blueprint.sockets.retire(body["keys"])
            case unknown:
                log.error("the manager asks for something unknown: %r", unknown)
        self._link.answer(envelope, {})

    def _keep_sockets(self) -> None:
        """Take the listen sockets that the manager has opened, and give each running worker its own."""
        pairs = self._blueprint.pairs
        for key, sockets in receive_sockets(pairs.opened[1]):
            self._blueprint.sockets.add(key, tuple(sockets))
            for index, seat in enumerate(self._workers):
                share = [sockets[index % len(sockets)]]
                if seat.child and not send_sockets(pairs.handed[index][0], [(key, share)]):
                    log.error("%s does not take the socket of %s", seat.name, key)

    def _crew(self) -> CrewReport:
        workers = tuple(
            WorkerReport(index, seat.child.pid if seat.child else 0, seat.state.restarts, seat.last_ending)
            for index, seat in enumerate(self._workers)
        )
        return CrewReport(self._phase, workers, self._manager.state.restarts)

    def _report(self) -> None:
        """A manager that is not there yet is given the latest report when it is made."""
        self._report_owed = self._manager.child is not None and not self._link.tell(self._crew().as_message())

    def _milliseconds_to_wait(self) -> int | None:
        moments = [seat.due for seat in [*self._workers, self._manager] if seat.due is not None]
        if self._deadline is not None:
            moments.append(self._deadline)
        if self._report_owed:
            moments.append(clock.monotonic() + 0.5)
        return max(0, math.ceil((min(moments) - clock.monotonic()) * 1000)) if moments else None


def start_manager(seat: ManagerSeat) -> int:
    """The manager's imports (aiohttp, renderers) are made in its own process: no other has use for them."""
    # A SIGTERM to the whole group is for the supervisor to decide about, already now.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    from pyproxy.server.manager import run_manager

    return run_manager(seat)
