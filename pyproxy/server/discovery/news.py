"""What changed among the resources, told as events: what came in one turn of the loop is one event for each type.

Thousands of clusters may come at once, and the last thousand events are all that is kept.
"""

from __future__ import annotations

import asyncio
from typing import Final

from pyproxy.config.resources import ResourceType
from pyproxy.telemetry.events import EventKind, Events

MOST_NAMED: Final = 20
"""Names and reasons in one event."""
_WORDS: Final = {
    ResourceType.CLUSTER: ("cds", "clusters"),
    ResourceType.ENDPOINTS: ("eds", "assignments of hosts"),
    ResourceType.LISTENER: ("lds", "listeners"),
    ResourceType.ROUTES: ("rds", "tables of routes"),
    ResourceType.RUNTIME: ("rtds", "layers of runtime values"),
    ResourceType.SCOPED_ROUTES: ("srds", "scopes of routes"),
    ResourceType.VIRTUAL_HOST: ("vhds", "virtual hosts"),
    ResourceType.EXTENSION: ("ecds", "extensions"),
    ResourceType.SECRET: ("sds", "secrets"),
}


class ResourceNews:
    """`events` is where it is told."""

    def __init__(self, loop: asyncio.AbstractEventLoop, events: Events) -> None:
        self._loop = loop
        self._events = events
        self._scheduled = False
        self._noted: dict[tuple[EventKind, ResourceType], dict[str, str]] = {}
        self._refused: dict[tuple[ResourceType, str], tuple[str, str]] = {}
        """What was told of a resource already: one that comes again and again is refused once."""

    def applied(self, kind: ResourceType, name: str, version: str) -> None:
        """In force from now on."""
        self._refused.pop((kind, name), None)
        self._note(EventKind.CONFIG_APPLIED, kind, name, version)

    def removed(self, kind: ResourceType, name: str) -> None:
        self._refused.pop((kind, name), None)
        self._note(EventKind.CONFIG_REMOVED, kind, name, "")

    def rejected(self, kind: ResourceType, name: str, version: str, reason: str) -> None:
        """What was in force stays."""
        if self._refused.get((kind, name)) != (version, reason):
            self._refused[kind, name] = version, reason
            self._note(EventKind.CONFIG_REJECTED, kind, name, reason)

    def warmed(self, kind: ResourceType, name: str) -> None:
        """It had to wait for others, and is there now."""
        self._note(_WARMED[kind], kind, name, "")

    def added(self, name: str, addresses: list[str]) -> None:
        """A listener that was not there before."""
        text = f"listens on {', '.join(addresses)}"
        self._events.emit(EventKind.LISTENER_ADDED, name, text, addresses=addresses)

    def _note(self, event: EventKind, kind: ResourceType, name: str, told: str) -> None:
        self._noted.setdefault((event, kind), {})[name.partition("\0")[0]] = told
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._scheduled = False
        noted, self._noted = self._noted, {}
        for (event, kind), found in noted.items():
            short, words = _WORDS[kind]
            names = list(found)[:MOST_NAMED]
            more = f" and {len(found) - len(names)} more" if len(found) > len(names) else ""
            fields: dict[str, object] = {"count": len(found), "names": names}
            if event is EventKind.CONFIG_REJECTED:
                fields["reasons"] = {name: found[name] for name in names}
                text = f"refused {len(found)} {words}, what was in force stays: {names[0]}: {found[names[0]]}"
            else:
                text = f"{_VERBS[event]} {len(found)} {words}: {', '.join(names)}{more}"
                versions = sorted({version for version in found.values() if version})[:MOST_NAMED]
                if versions:
                    fields["versions"] = versions
            self._events.emit(event, short, text, **fields)


_VERBS: Final = {
    EventKind.CONFIG_APPLIED: "applied",
    EventKind.CONFIG_REMOVED: "removed",
    EventKind.CLUSTER_WARMED: "have their hosts and certificates:",
    EventKind.LISTENER_WARMED: "have their routes and certificates:",
}
_WARMED: Final = {
    ResourceType.CLUSTER: EventKind.CLUSTER_WARMED,
    ResourceType.LISTENER: EventKind.LISTENER_WARMED,
}
