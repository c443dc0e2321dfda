"""The checks of one host: when to ask, and the connection to ask on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pyproxy import clock
from pyproxy.clusters.dial import dial
from pyproxy.clusters.health_checks.probe import Probe
from pyproxy.clusters.health_checks.state import HealthState, Outcome
from pyproxy.clusters.host import Host
from pyproxy.network.transport_sockets.tls import PeerRefused
from pyproxy.tasks import spawn

_LATE: Final = 0.05
"""Seconds that a worker waits longer than the one before it for what it does not hear."""

if TYPE_CHECKING:
    from pyproxy.clusters.health_checks.checker import HealthChecker


class Session:
    """The checks of one host. At most one is under way. `asks`: it is this worker who asks."""

    def __init__(self, checker: HealthChecker, host: Host) -> None:
        self.host = host
        self.state = HealthState(checker.config)
        self._checker = checker
        self._asking = checker.new_asking()
        self._probe: Probe | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self.asks = False

    def begin(self) -> None:
        jitter = self._checker.config.initial_jitter
        self._wait((jitter * clock.rng.random() if jitter else 0.0) + self._checker.peers.patience)

    def fail_now(self) -> None:
        """An answer to a request has said so; the next check comes when it was to come."""
        self._checker.take(self, Outcome.PASSIVE)
        self._checker.tell(self, -1.0)

    def hear(self, sender: int, values: list[Any]) -> None:
        """Another worker has asked."""
        checker, wait = self._checker, values[-1]
        checker.adopt(self, values[:-1])
        index = checker.peers.index
        if wait < 0 or self._task is not None or (self.asks and index < sender):
            return
        self.asks = False
        self._drop()
        if self._timer is not None:
            self._timer.cancel()
        self._wait(wait + checker.config.timeout + _LATE * (1 + index))

    def left(self) -> float:
        """Seconds until the next check; none where one is under way."""
        return 0.0 if self._timer is None else max(0.0, self._timer.when() - self._checker.cluster.loop.time())

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._drop()

    def _wait(self, seconds: float) -> None:
        self._timer = self._checker.cluster.loop.call_later(seconds, self._start)

    def _start(self) -> None:
        self._task = spawn(self._check(), f"health check {self.host.address}")

    async def _check(self) -> None:
        checker = self._checker
        checker.stats.attempt.value += 1
        try:
            outcome = await asyncio.wait_for(self._ask(), checker.config.timeout)
        except TimeoutError:
            outcome = Outcome.TIMED_OUT
        except (OSError, PeerRefused):
            outcome = Outcome.UNREACHED
        clock.tick()
        self._task = None
        if not outcome.good or not self._asking.reusable or not checker.config.reuse_connection:
            self._drop()
        step = checker.take(self, outcome, self._asking)
        self.asks = True
        wait = self._jittered(self.state.next_interval(step, traffic=self._traffic()))
        self._wait(wait)
        checker.tell(self, wait)

    async def _ask(self) -> Outcome:
        probe = self._probe
        if probe is None or probe.closed:
            probe = self._probe = Probe(self._checker.cork)
            self._asking.begin(probe)
            await dial(self._checker.cluster.loop, self._checker.cluster, self._target(), probe)
        return await self._asking.ask(probe, self.host)

    def _target(self) -> Host:
        """The host, or a stand-in at the port where it wants to be asked."""
        host, port = self.host, self.host.check_port or self._checker.config.alt_port
        if not port or host.address_config.pipe or host.address_config.internal:
            return host
        return host.at(replace(host.address_config, port=port))

    def _drop(self) -> None:
        if self._probe is not None:
            if self._probe.transport is not None:
                self._probe.close()
            self._probe = None

    def _traffic(self) -> bool:
        self._checker.look_for_traffic()
        return self._checker.traffic

    def _jittered(self, seconds: float) -> float:
        config, draw = self._checker.config, clock.rng.random
        if config.interval_jitter_percent:
            seconds += seconds * config.interval_jitter_percent / 100.0 * draw()
        if config.interval_jitter:
            seconds += config.interval_jitter * draw()
        least, most = self._checker.bounds()
        return max(0.001, least, min(seconds, most))
