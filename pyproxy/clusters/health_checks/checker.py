"""Active health checks of one cluster: asks each host again and again, and marks those that fail.

Each worker asks for itself. So nothing has to be agreed on between processes, a worker that is started anew knows no
less than the others, and each believes what it can reach itself; the price is one question per worker and interval.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from pyproxy import clock
from pyproxy.clusters.dial import dial
from pyproxy.clusters.health_checks.asking import AskHttp, Asking, AskTcp
from pyproxy.clusters.health_checks.probe import Probe
from pyproxy.clusters.health_checks.state import HealthState, Outcome, Step
from pyproxy.clusters.host import HealthFlag, Host
from pyproxy.config.health_check import HealthCheckConfig, HttpCheckConfig
from pyproxy.network.cork import Cork
from pyproxy.network.transport_sockets.tls import PeerRefused
from pyproxy.tasks import spawn
from pyproxy.telemetry.health_check_stats import HealthCheckStats

if TYPE_CHECKING:
    from pyproxy.clusters.cluster import Cluster


class HealthChecker:
    """`on_change` is called when a host has become healthy or has failed; `on_settled` when all hosts have been asked,
    until it says that it need not be told again."""

    def __init__(
        self,
        config: HealthCheckConfig,
        cluster: Cluster,
        stats: HealthCheckStats,
        on_change: Callable[[Host], None],
        on_settled: Callable[[], bool],
    ) -> None:
        self.config = config
        self.cluster = cluster
        self.stats = stats
        self.cork = Cork(cluster.loop)
        self._on_change = on_change
        self._on_settled = on_settled
        self._asked = False
        self._sessions: dict[Host, Session] = {}
        self.traffic = False
        """The cluster has carried a request."""

    def watch(self, hosts: Iterable[Host]) -> None:
        """These are the hosts now. New ones count as failed until their first answer."""
        before, self._sessions = self._sessions, {}
        for host in hosts:
            if not host.checked:
                continue
            session = before.pop(host, None)
            if session is None:
                host.mark(HealthFlag.FAILED_ACTIVE_HC, on=True)
                session = Session(self, host)
                session.begin()
            self._sessions[host] = session
        for session in before.values():
            session.close()
        self._settle()

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def new_asking(self) -> Asking:
        check = self.config.check
        return AskHttp(check, self.cluster.name) if isinstance(check, HttpCheckConfig) else AskTcp(check)

    def judged(self, session: Session, step: Step) -> None:
        """A host has been asked."""
        host, state = session.host, session.state
        changed = False
        if step is Step.CHANGED:
            changed = host.mark(HealthFlag.FAILED_ACTIVE_HC, on=state.failed)
            changed |= host.mark(HealthFlag.DEGRADED_ACTIVE_HC, on=state.degraded)
        host.mark(HealthFlag.ACTIVE_HC_TIMEOUT, on=state.failed and session.timed_out)
        if changed:
            self._on_change(host)
        self._count()
        self._settle()

    def _settle(self) -> None:
        if not self._asked and not any(session.state.first for session in self._sessions.values()):
            self._asked = self._on_settled()

    def _count(self) -> None:
        states = [session.state for session in self._sessions.values()]
        self.stats.healthy.value = sum(not state.failed for state in states)
        self.stats.degraded.value = sum(not state.failed and state.degraded for state in states)


class Session:
    """The checks of one host. At most one is under way."""

    def __init__(self, checker: HealthChecker, host: Host) -> None:
        self.host = host
        self.state = HealthState(checker.config)
        self.timed_out = False
        self._checker = checker
        self._asking = checker.new_asking()
        self._probe: Probe | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        jitter = self._checker.config.initial_jitter
        self._wait(jitter * clock.rng.random() if jitter else 0.0)

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
        self._count(outcome)
        self.timed_out = outcome is Outcome.TIMED_OUT
        step = self.state.take(outcome)
        checker.judged(self, step)
        self._wait(self._jittered(self.state.next_interval(step, traffic=self._traffic())))

    async def _ask(self) -> Outcome:
        probe = self._probe
        if probe is None or probe.closed:
            probe = self._probe = Probe(self._checker.cork)
            await dial(self._checker.cluster.loop, self._checker.cluster, self._target(), probe)
        return await self._asking.ask(probe, self.host)

    def _target(self) -> Host:
        """The host, or a stand-in at the port where it wants to be asked."""
        host, port = self.host, self.host.check_port or self._checker.config.alt_port
        if not port or host.address_config.pipe:
            return host
        return host.at(replace(host.address_config, port=port))

    def _drop(self) -> None:
        if self._probe is not None:
            if self._probe.transport is not None:
                self._probe.close()
            self._probe = None

    def _count(self, outcome: Outcome) -> None:
        stats = self._checker.stats
        if outcome.good:
            stats.success.value += 1
            return
        stats.failure.value += 1
        if outcome in (Outcome.UNREACHED, Outcome.TIMED_OUT):
            stats.network_failure.value += 1

    def _traffic(self) -> bool:
        checker = self._checker
        if not checker.traffic:
            checker.traffic = checker.cluster.stats.upstream_cx_total.value > 0 or self.host.cx_total > 0
        return checker.traffic

    def _jittered(self, seconds: float) -> float:
        config, draw = self._checker.config, clock.rng.random
        if config.interval_jitter_percent:
            seconds += seconds * config.interval_jitter_percent / 100.0 * draw()
        if config.interval_jitter:
            seconds += config.interval_jitter * draw()
        return max(0.001, seconds)
