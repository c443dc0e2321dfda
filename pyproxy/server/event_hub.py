"""All events of the proxy, in the manager: kept for those who come later, told to those who listen, written down.

The last 1,000 are kept. PYPROXY_EVENT_LOG names a file to which each is written as a line of JSON, and
PYPROXY_EVENT_CLUSTER a cluster that gets them as OpenTelemetry log records. A listener that does not keep up loses the
oldest.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pyproxy import clock
from pyproxy.telemetry.events import Event, EventKind
from pyproxy.telemetry.log_sink import LogSink

log = logging.getLogger("pyproxy.events")

KEPT: Final = 1000
_MOST_UNREAD: Final = 1000
LOG_VARIABLE: Final = "PYPROXY_EVENT_LOG"
CLUSTER_VARIABLE: Final = "PYPROXY_EVENT_CLUSTER"


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """Numbers count up from 1 in each life of the manager."""

    number: int
    event: Event

    def as_json(self) -> str:
        event = self.event
        moment = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        told = {
            "id": self.number,
            "time": moment,
            "kind": event.kind.value,
            "severity": event.severity.name,
            "subject": event.subject,
            "message": event.message,
            **({"fields": dict(event.fields)} if event.fields else {}),
        }
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


class EventHub:
    """Implements `telemetry.events.Events`."""

    def __init__(self, path: str | None = None) -> None:
        self._numbers = itertools.count(1)
        self._kept: deque[NumberedEvent] = deque(maxlen=KEPT)
        self._listeners: set[asyncio.Queue[NumberedEvent | None]] = set()
        self._sink: LogSink | None = None
        self._path = os.environ.get(LOG_VARIABLE, "") if path is None else path
        self.export: Callable[[Event], None] | None = None
        """Called with each event, where they are sent on."""
        self._open()

    def emit(self, kind: EventKind, subject: str, message: str, **fields: Any) -> None:
        self.take(Event(kind, subject, message, clock.wall(), fields))

    def take(self, event: Event) -> None:
        """An event that happened here or in a worker."""
        numbered = NumberedEvent(next(self._numbers), event)
        self._kept.append(numbered)
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(numbered)
        self._write(numbered)
        if self.export is not None:
            self.export(event)

    def kept(self, *, since: int = 0, kind: str = "") -> list[NumberedEvent]:
        """Those after number `since` whose kind begins with `kind`."""
        return [one for one in self._kept if one.number > since and one.event.kind.value.startswith(kind)]

    async def follow(self, *, since: int = 0, kind: str = "") -> AsyncIterator[NumberedEvent]:
        """Those that were kept, then each that happens, until the hub is closed."""
        queue: asyncio.Queue[NumberedEvent | None] = asyncio.Queue(_MOST_UNREAD)
        self._listeners.add(queue)
        try:
            for one in self.kept(since=since, kind=kind):
                yield one
            while (numbered := await queue.get()) is not None:
                if numbered.event.kind.value.startswith(kind):
                    yield numbered
        finally:
            self._listeners.discard(queue)

    def reopen(self) -> None:
        """The file was moved away."""
        if self._sink is not None:
            self._sink.close()
            self._sink = None
        self._open()

    def close(self) -> None:
        """Nobody is told any more."""
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)
        if self._sink is not None:
            self._sink.close()
            self._sink = None

    def _open(self) -> None:
        if not self._path:
            return
        try:
            self._sink = LogSink.open(self._path)
        except OSError as error:
            log.error("events cannot be written to %s: %s", self._path, error.strerror or error)

    def _write(self, numbered: NumberedEvent) -> None:
        if self._sink is None:
            return
        try:
            self._sink.write(numbered.as_json().encode("utf-8", "backslashreplace") + b"\n")
        except OSError as error:
            log.error("events cannot be written to %s: %s", self._path, error.strerror or error)
            self._sink.close()
            self._sink = None
