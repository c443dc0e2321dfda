"""The event log of outlier detection (Envoy: OutlierDetectionEvent, envoy.data.cluster.v3), and what is told at
`/events`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyproxy.clusters.event_lines import EventFiles, timestamp
from pyproxy.clusters.host import Host
from pyproxy.telemetry.events import EventKind, Events
from pyproxy.telemetry.logs import AccessLogs


@dataclass(frozen=True, slots=True)
class Ejection:
    """`kind` is Envoy's word for why (OutlierEjectionType). `seconds` since the host last came back, None where it
    never was away; `rates` are percent: its own, and for the comparison of hosts their average and the threshold;
    `trace_id` is that of the request that was one too many, where there was one and it is traced."""

    kind: str
    number: int
    seconds: int | None
    enforced: bool
    rates: tuple[float, ...] = ()
    trace_id: str = ""


class OutlierLog:
    """Of one cluster."""

    __slots__ = ("_cluster", "_events", "_files")

    def __init__(self, cluster: str, path: str, logs: AccessLogs, events: Events) -> None:
        self._cluster = cluster
        self._events = events
        self._files = EventFiles((path,) if path else (), logs)

    def ejected(self, host: Host, ejection: Ejection) -> None:
        if ejection.enforced:
            traced = {"trace_id": ejection.trace_id} if ejection.trace_id else {}
            told = {"why": ejection.kind, "times": ejection.number, **traced}
            self._tell(EventKind.HOST_EJECTED, host, f"is out: {ejection.kind}", **told)
        event = self._common(ejection.kind, host, "EJECT", ejection.number, ejection.seconds)
        event["enforced"] = ejection.enforced
        names = ("host_success_rate", "cluster_average_success_rate", "cluster_success_rate_ejection_threshold")
        rates = {name: int(rate) for name, rate in zip(names, ejection.rates, strict=False)}
        kind = ("consecutive", "failure_percentage", "success_rate", "success_rate")[len(rates)]
        event[f"eject_{kind}_event"] = rates
        self._files.write(event)

    def returned(self, host: Host, number: int, seconds: int) -> None:
        """`seconds` since it was ejected for the `number`th time."""
        self._tell(EventKind.HOST_RETURNED, host, f"is back after {seconds} s", seconds=seconds)
        event = self._common("CONSECUTIVE_5XX", host, "UNEJECT", number, seconds)
        event["enforced"] = False
        self._files.write(event)

    def close(self) -> None:
        self._files.close()

    def _common(self, kind: str, host: Host, action: str, number: int, seconds: int | None) -> dict[str, Any]:
        return {
            "type": kind,
            "timestamp": timestamp(),
            **({} if seconds is None else {"secs_since_last_action": str(seconds)}),
            "cluster_name": self._cluster,
            "upstream_url": host.address,
            "action": action,
            "num_ejections": number,
        }

    def _tell(self, kind: EventKind, host: Host, message: str, **fields: Any) -> None:
        text = f"{host.address} of {self._cluster} {message}"
        self._events.emit(kind, host.address, text, cluster=self._cluster, **fields)
