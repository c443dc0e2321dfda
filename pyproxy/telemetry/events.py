"""Events: what happened to the proxy itself, as typed facts. They are seldom, unlike what happens to requests.

A worker notes them in an `EventOutbox`; the manager keeps, shows and sends them (`server.event_hub`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol

from pyproxy import clock

MOST_WAITING: Final = 1000
"""In a worker, between two hand-overs."""


class EventKind(Enum):
    """What happened. The value is its name outside; the first word says to what."""

    CONFIG_APPLIED = "config.applied"
    CONFIG_REJECTED = "config.rejected"
    CONFIG_REMOVED = "config.removed"
    LISTENER_ADDED = "listener.added"
    LISTENER_DRAINED = "listener.drained"
    LISTENER_WARMED = "listener.warmed"
    CLUSTER_WARMED = "cluster.warmed"
    HOST_EJECTED = "host.ejected"
    HOST_RETURNED = "host.returned"
    HOST_HEALTH_CHANGED = "host.health_changed"
    BREAKER_OPENED = "breaker.opened"
    BREAKER_CLOSED = "breaker.closed"
    OVERLOAD_ACTION = "overload.action"
    CERTIFICATE_ROTATED = "certificate.rotated"
    CERTIFICATE_REFUSED = "certificate.refused"
    CERTIFICATE_NEAR_EXPIRY = "certificate.near_expiry"
    WORKER_STARTED = "worker.started"
    WORKER_ENDED = "worker.ended"
    DRAIN_PHASE = "drain.phase"
    ADMIN_ACTION = "admin.action"


class Severity(Enum):
    """The value is OpenTelemetry's severity number."""

    INFO = 9
    WARN = 13
    ERROR = 17


_SEVERITIES: Final = {
    EventKind.CONFIG_REJECTED: Severity.ERROR,
    EventKind.CERTIFICATE_REFUSED: Severity.ERROR,
    EventKind.CERTIFICATE_NEAR_EXPIRY: Severity.WARN,
    EventKind.WORKER_ENDED: Severity.WARN,
    EventKind.HOST_EJECTED: Severity.WARN,
    EventKind.BREAKER_OPENED: Severity.WARN,
    EventKind.OVERLOAD_ACTION: Severity.WARN,
}


@dataclass(frozen=True, slots=True)
class Event:
    """`subject` is what it happened to; `at` is in seconds since the epoch."""

    kind: EventKind
    subject: str
    message: str
    at: float
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def severity(self) -> Severity:
        if self.fields.get("expected"):
            return Severity.INFO
        return _SEVERITIES.get(self.kind, Severity.INFO)

    def as_message(self) -> dict[str, Any]:
        """Plain data, for the channel."""
        return {
            "kind": self.kind.value,
            "subject": self.subject,
            "message": self.message,
            "at": self.at,
            "fields": dict(self.fields),
        }

    @classmethod
    def of_message(cls, message: Mapping[str, Any]) -> Event:
        return cls(EventKind(message["kind"]), message["subject"], message["message"], message["at"], message["fields"])


class Events(Protocol):
    """Where events are told, in any process."""

    def emit(self, kind: EventKind, subject: str, message: str, **fields: Any) -> None: ...


class EventOutbox:
    """The events of a worker until they are handed over; too many lose the oldest."""

    def __init__(self, **fields: Any) -> None:
        """`fields` are those of every event."""
        self._fields = fields
        self._waiting: deque[Event] = deque(maxlen=MOST_WAITING)

    def emit(self, kind: EventKind, subject: str, message: str, **fields: Any) -> None:
        self._waiting.append(Event(kind, subject, message, clock.wall(), {**self._fields, **fields}))

    def take(self) -> list[Event]:
        events = list(self._waiting)
        self._waiting.clear()
        return events
