"""The event log of health checks (Envoy: HealthCheckEvent, envoy.data.core.v3), and what is told at `/events`."""

from __future__ import annotations

from typing import Any, Final

from pyproxy.clusters.event_lines import EventFiles, timestamp
from pyproxy.clusters.health_checks.state import Outcome
from pyproxy.clusters.host import Host
from pyproxy.config.health_check import GrpcCheckConfig, HealthCheckConfig, TcpCheckConfig
from pyproxy.telemetry.events import EventKind, Events
from pyproxy.telemetry.logs import AccessLogs

FAILURE_TYPES: Final = {
    Outcome.BAD: "ACTIVE",
    Outcome.RETRIABLE: "ACTIVE",
    Outcome.PASSIVE: "PASSIVE",
    Outcome.UNREACHED: "NETWORK",
    Outcome.TIMED_OUT: "NETWORK_TIMEOUT",
}
_LATE: Final = ("health_check_failure_event", "degraded_healthy_host", "no_longer_degraded_host")
"""Envoy writes fields in the order of their numbers: these come behind the time."""


class HealthEventLog:
    """Of the checks of one cluster."""

    __slots__ = ("_cluster", "_config", "_events", "_files", "_type")

    def __init__(self, config: HealthCheckConfig, cluster: str, logs: AccessLogs, events: Events) -> None:
        self._config = config
        self._cluster = cluster
        self._events = events
        self._files = EventFiles(config.event_logs, logs)
        check = config.check
        self._type = (
            "GRPC" if isinstance(check, GrpcCheckConfig) else "TCP" if isinstance(check, TcpCheckConfig) else "HTTP"
        )

    def passed(self, host: Host, *, first: bool, added: bool, degraded: bool | None) -> None:
        """`added`: it was failed before; `degraded` is None where that has not changed."""
        if added:
            self._write(host, "add_healthy_event", {"first_check": first})
            if not first:
                self._tell(host, "healthy", "passes its health check again")
        elif self._config.log_successes:
            self._write(host, "successful_health_check_event", {})
        if degraded is not None:
            self._write(host, "degraded_healthy_host" if degraded else "no_longer_degraded_host", {})
            self._tell(
                host, "degraded" if degraded else "healthy", "is degraded" if degraded else "is degraded no longer"
            )

    def failed(self, host: Host, outcome: Outcome, status: int, *, first: bool, ejected: bool) -> None:
        """`ejected`: it was healthy before. `status` is that of an HTTP answer, or 0."""
        kind = FAILURE_TYPES[outcome]
        what: dict[str, Any] = {"failure_type": kind}
        if ejected:
            self._write(host, "eject_unhealthy_event", {**what, "http_status_code": status})
        if ejected or first:
            self._tell(host, "unhealthy", f"fails its health check: {kind}", failure_type=kind)
        if first or self._config.log_failures:
            self._write(host, "health_check_failure_event", {**what, "first_check": first, "http_status_code": status})

    def close(self) -> None:
        self._files.close()

    def _tell(self, host: Host, health: str, message: str, **fields: Any) -> None:
        self._events.emit(
            EventKind.HOST_HEALTH_CHANGED,
            host.address,
            f"{host.address} of {self._cluster} {message}",
            cluster=self._cluster,
            health=health,
            **fields,
        )

    def _write(self, host: Host, name: str, what: dict[str, Any]) -> None:
        if not self._files:
            return
        event: dict[str, Any] = {
            "health_checker_type": self._type,
            "host": _address(host),
            "cluster_name": self._cluster,
        }
        last = name == "successful_health_check_event"
        if name not in _LATE and not last:
            event[name] = what
        event["timestamp"] = timestamp()
        if name in _LATE:
            event[name] = what
        event["metadata"] = {"filter_metadata": dict(host.metadata), "typed_filter_metadata": {}}
        event["locality"] = {"region": host.region, "zone": host.zone, "sub_zone": host.sub_zone}
        if last:
            event[name] = what
        self._files.write(event)


def _address(host: Host) -> dict[str, Any]:
    at = host.address_config
    if at.pipe:
        return {"pipe": {"path": at.pipe, "mode": 0}}
    return {
        "socket_address": {
            "protocol": "TCP",
            "address": at.host,
            "port_value": at.port,
            "resolver_name": "",
            "ipv4_compat": False,
            "network_namespace_filepath": "",
        }
    }
