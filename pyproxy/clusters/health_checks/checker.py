"""Active health checks of one cluster: asks each host again and again, and marks those that fail.

Of several workers one asks, and tells the others what it has heard. Whoever asks first goes on asking; the others wait
for as long as a check may take at most, and ask themselves only where they hear nothing. So each host is asked once, no
worker is in charge, and one that dies is replaced within a check's interval and timeout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import TYPE_CHECKING, Any

from pyproxy.clusters.health_checks.asking import AskHttp, Asking, AskTcp
from pyproxy.clusters.health_checks.event_log import HealthEventLog
from pyproxy.clusters.health_checks.grpc_asking import AskGrpc
from pyproxy.clusters.health_checks.session import Session
from pyproxy.clusters.health_checks.state import Outcome, Step
from pyproxy.clusters.host import HealthFlag, Host
from pyproxy.clusters.peers import Topic
from pyproxy.config.health_check import GrpcCheckConfig, HealthCheckConfig, HttpCheckConfig
from pyproxy.network.cork import Cork
from pyproxy.telemetry.health_check_stats import HealthCheckStats

if TYPE_CHECKING:
    from pyproxy.clusters.cluster import Cluster, ClusterServices


class HealthChecker:
    """`on_change` is called when a host has become healthy or has failed; `on_settled` when all hosts have been asked,
    until it says that it need not be told again."""

    def __init__(
        self,
        config: HealthCheckConfig,
        cluster: Cluster,
        stats: HealthCheckStats,
        services: ClusterServices,
        on_change: Callable[[Host], None],
        on_settled: Callable[[], bool],
    ) -> None:
        self.config = config
        self.cluster = cluster
        self.stats = stats
        self.log = HealthEventLog(config, cluster.name, services.logs, services.events)
        self.peers = services.peers
        self._values = services.values
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
                if self.cluster.config.ignore_new_hosts and self._asked:
                    host.mark(HealthFlag.PENDING_ACTIVE_HC, on=True)
                session = Session(self, host)
                host.checker = session
                session.begin()
            self._sessions[host] = session
        for session in before.values():
            session.close()
            session.host.checker = None
        self._settle()

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()
            session.host.checker = None
        self._sessions.clear()
        self.log.close()

    def new_asking(self) -> Asking:
        check = self.config.check
        match check:
            case HttpCheckConfig():
                return AskHttp(check, self.cluster)
            case GrpcCheckConfig():
                return AskGrpc(check, self.cluster, self.config.timeout)
            case _:
                return AskTcp(check)

    def take(self, session: Session, outcome: Outcome, asking: Asking | None = None) -> Step:
        """A host has been asked, or has said by itself that it is not well."""
        status, excludes = 0, outcome is Outcome.PASSIVE
        if asking is not None and outcome.answered:
            status, excludes = asking.status, asking.excludes
        host, state = session.host, session.state
        first, failed, degraded = state.first, state.failed, state.degraded
        step = state.take(outcome)
        self._count(outcome)
        if outcome.good:
            change = None if degraded is state.degraded else state.degraded
            self.log.passed(host, first=first, added=failed and not state.failed, degraded=change)
        else:
            self.log.failed(host, outcome, status, first=first, ejected=state.failed and not failed)
        changed = False
        if step is Step.CHANGED:
            changed = host.mark(HealthFlag.FAILED_ACTIVE_HC, on=state.failed)
            changed |= host.mark(HealthFlag.DEGRADED_ACTIVE_HC, on=state.degraded)
        if excludes and state.failed:
            changed |= host.mark(HealthFlag.EXCLUDED_VIA_IMMEDIATE_HC_FAIL, on=True)
        elif not state.failed:
            changed |= host.mark(HealthFlag.EXCLUDED_VIA_IMMEDIATE_HC_FAIL, on=False)
        host.mark(HealthFlag.ACTIVE_HC_TIMEOUT, on=state.failed and outcome is Outcome.TIMED_OUT)
        self._changed(host, changed)
        return step

    def adopt(self, session: Session, values: list[Any]) -> None:
        """Another worker has asked; it has also counted and written it down."""
        failed, degraded, timed_out, excluded, good, bad = values
        host = session.host
        session.state.adopt(failed, degraded, good, bad)
        changed = host.mark(HealthFlag.FAILED_ACTIVE_HC, on=failed)
        changed |= host.mark(HealthFlag.DEGRADED_ACTIVE_HC, on=degraded)
        changed |= host.mark(HealthFlag.EXCLUDED_VIA_IMMEDIATE_HC_FAIL, on=excluded)
        host.mark(HealthFlag.ACTIVE_HC_TIMEOUT, on=timed_out)
        self._changed(host, changed)

    def tell(self, session: Session, wait: float) -> None:
        """Tell the other workers how it is with a host, and when it will be asked next (-1: as before)."""
        flags, (failed, degraded, good, bad) = session.host.flags, session.state.told()
        timed_out = bool(flags & HealthFlag.ACTIVE_HC_TIMEOUT)
        excluded = bool(flags & HealthFlag.EXCLUDED_VIA_IMMEDIATE_HC_FAIL)
        values = [failed, degraded, timed_out, excluded, good, bad, wait]
        self.peers.tell(Topic.CHECKED, self.cluster.name, session.host.key, values)

    def tell_all(self) -> None:
        """For a worker that begins to use the cluster."""
        for session in self._sessions.values():
            if session.asks:
                self.tell(session, session.left())

    def bounds(self) -> tuple[float, float]:
        """The least and the most seconds between checks that the runtime allows."""
        values = self._values
        least = values.number("health_check.min_interval", 0.0) / 1000.0
        return least, values.number("health_check.max_interval", inf) / 1000.0

    def look_for_traffic(self) -> None:
        """Whether the cluster is used, be it by another worker: how often is asked depends on it."""
        if not self.traffic and self.cluster.stats.upstream_cx_total.value:
            self.traffic = True
            self.peers.tell(Topic.TRAFFIC, self.cluster.name)

    def _changed(self, host: Host, changed: bool) -> None:
        changed |= host.mark(HealthFlag.PENDING_ACTIVE_HC, on=False)
        if changed:
            self._on_change(host)
        self._count_hosts()
        self._settle()

    def _count(self, outcome: Outcome) -> None:
        stats = self.stats
        if outcome.good:
            stats.success.value += 1
            return
        stats.failure.value += 1
        if outcome in (Outcome.UNREACHED, Outcome.TIMED_OUT):
            stats.network_failure.value += 1
        elif outcome is Outcome.PASSIVE:
            stats.passive_failure.value += 1

    def _settle(self) -> None:
        if not self._asked and not any(session.state.first for session in self._sessions.values()):
            self._asked = self._on_settled()

    def _count_hosts(self) -> None:
        states = [session.state for session in self._sessions.values()]
        self.stats.healthy.value = sum(not state.failed for state in states)
        self.stats.degraded.value = sum(not state.failed and state.degraded for state in states)
