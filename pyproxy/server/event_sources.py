"""Events that the manager sees by itself: processes that come and go, phases, listeners, certificates."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from cryptography import x509

from pyproxy.config.bootstrap import BootstrapConfig
from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.listener import ListenerConfig
from pyproxy.config.secret_pem import secret_certificates
from pyproxy.config.tls import DownstreamTlsConfig, UpstreamTlsConfig
from pyproxy.config.tls_reload import reload_tls
from pyproxy.server.crew import CrewReport, Phase
from pyproxy.telemetry.events import EventKind, Events

DAYS_BEFORE_EXPIRY: Final = (1, 7, 30)
"""A certificate is told of when it is that near to its end, once for each."""


def tell_start(bootstrap: BootstrapConfig, events: Events) -> None:
    """The configuration that the proxy was started with."""
    listeners, clusters = len(bootstrap.listeners), len(bootstrap.clusters)
    events.emit(
        EventKind.CONFIG_APPLIED,
        "bootstrap",
        f"started with {listeners} listeners and {clusters} clusters",
        listeners=listeners,
        clusters=clusters,
    )
    for listener in bootstrap.listeners:
        addresses = [str(address) for address in listener.addresses] or [f"envoy://{listener.name}/"]
        events.emit(EventKind.LISTENER_ADDED, listener.name, f"listens on {', '.join(addresses)}", addresses=addresses)


def tell_crew(before: CrewReport, now: CrewReport, events: Events) -> None:
    """What changed among the processes."""
    if now.phase is not before.phase:
        events.emit(EventKind.DRAIN_PHASE, "proxy", f"{before.phase.value} -> {now.phase.value}", phase=now.phase.value)
    old = {worker.index: worker for worker in before.workers}
    for worker in now.workers:
        was = old.get(worker.index)
        name = f"worker {worker.index}"
        if was is not None and was.pid and was.pid != worker.pid:
            serving = now.phase is Phase.SERVING
            what = worker.last_ending or "ended"
            events.emit(EventKind.WORKER_ENDED, name, what, pid=was.pid, expected=not serving)
        if worker.pid and (was is None or was.pid != worker.pid):
            again = f", restart {worker.restarts}" if worker.restarts else ""
            events.emit(
                EventKind.WORKER_STARTED, name, f"pid {worker.pid}{again}", pid=worker.pid, restarts=worker.restarts
            )


class ExpiryWatch:
    """Tells of certificates that will soon be no longer valid."""

    def __init__(
        self,
        bootstrap: BootstrapConfig,
        events: Events,
        listeners: Callable[[], Iterable[ListenerConfig]] | None = None,
        secrets: Callable[[], Mapping[str, bytes]] = dict,
    ) -> None:
        """`listeners` are those in force, `secrets` what came by SDS, by slot."""
        self._bootstrap = bootstrap
        self._listeners = listeners if listeners is not None else lambda: bootstrap.listeners
        self._secrets = secrets
        self._events = events
        self._told: set[tuple[str, int, int]] = set()

    def look(self, now: datetime.datetime) -> int | None:
        """Call from time to time. How many days the first to end has left; None without a certificate."""
        fewest: int | None = None
        for name, certificate in self._certificates():
            left = certificate.not_valid_after_utc - now
            fewest = max(0, left.days) if fewest is None else min(fewest, max(0, left.days))
            days = next((days for days in DAYS_BEFORE_EXPIRY if left < datetime.timedelta(days=days)), 0)
            if days and (name, certificate.serial_number, days) not in self._told:
                self._told |= {(name, certificate.serial_number, more) for more in DAYS_BEFORE_EXPIRY if more >= days}
                self._tell(name, certificate, left, days)
        return fewest

    def _tell(self, name: str, certificate: x509.Certificate, left: datetime.timedelta, days: int) -> None:
        over = left <= datetime.timedelta(0)
        self._events.emit(
            EventKind.CERTIFICATE_NEAR_EXPIRY,
            name,
            "is no longer valid" if over else f"is valid for less than {days} days",
            serial_number=f"{certificate.serial_number:x}",
            not_after=certificate.not_valid_after_utc.isoformat(),
        )

    def _certificates(self) -> Iterator[tuple[str, x509.Certificate]]:
        """Those that the proxy shows to others and those that it trusts, as their files hold them now."""
        secrets = self._secrets()
        for body in secrets.values():
            name, pems = secret_certificates(body)
            for pem in pems:
                yield from _first(name, pem)
        for config in self._contexts():
            current = config
            if config.source is not None:
                try:
                    current = reload_tls(config.source, secrets)
                except InvalidConfig:
                    continue  # the workers go on with the old ones, and say so
            for one in current.common.certificates:
                yield from _first(one.path, one.chain)
            checks = current.common.validation
            yield from _first(checks.trusted_ca_path, checks.trusted_ca.encode())

    def _contexts(self) -> Iterator[DownstreamTlsConfig | UpstreamTlsConfig]:
        for listener in self._listeners():
            for chain in listener.chains:
                if chain.tls is not None:
                    yield chain.tls
        for cluster in self._bootstrap.clusters:
            if cluster.tls is not None:
                yield cluster.tls


def _first(path: str, pem: bytes) -> Iterator[tuple[str, x509.Certificate]]:
    if pem:
        with contextlib.suppress(ValueError):  # it was refused, and that was told
            yield path, x509.load_pem_x509_certificates(pem)[0]
