"""The part of `/config_dump` that came while the proxy runs: what is in force, what waits, and what was refused."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pyproxy.config.resources import URL_PREFIX, ResourceType, parse, unpack_scopes
from pyproxy.server.admin.redact import as_dict
from pyproxy.server.discovery.discovery import Discovery
from pyproxy.server.discovery.store import Held, Refusal

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Versions:
    """Of one type: what is in force, what waits to be, and what was refused last; by name."""

    held: dict[str, Held] = field(default_factory=dict)
    warming: dict[str, Held] = field(default_factory=dict)
    refused: dict[str, Refusal] = field(default_factory=dict)
    version: str = ""

    @property
    def names(self) -> list[str]:
        return sorted({**self.held, **self.warming, **self.refused})


@dataclass(frozen=True, slots=True)
class InForce:
    """Taken at one moment, so that it can be rendered while the proxy goes on."""

    by_kind: dict[ResourceType, Versions]
    scope_names: dict[str, str] = field(default_factory=dict)
    """Of scoped routes, by slot."""

    @classmethod
    def of(cls, discovery: Discovery | None, wanted: Callable[[str], bool]) -> InForce:
        """`wanted` says which names."""
        found = {kind: Versions() for kind in ResourceType}
        if discovery is None:
            return cls(found)
        for kind in ResourceType:
            held = {name: one for name, one in discovery.store.of(kind).items() if wanted(_shown(name))}
            refused = {name: one for name, one in discovery.store.refused[kind].items() if wanted(_shown(name))}
            waiting, version = {}, ""
            if kind is ResourceType.CLUSTER:
                waiting, version = discovery.clusters.waiting(), discovery.clusters.version
            elif kind is ResourceType.LISTENER:
                waiting, version = discovery.listeners.waiting(), discovery.listeners.version
            warming = {name: one for name, one in waiting.items() if wanted(name)}
            found[kind] = Versions(held, warming, refused, version)
        return cls(found, discovery.scope_names())

    @property
    def has_routes(self) -> bool:
        return bool(self.by_kind[ResourceType.ROUTES].held)

    def clusters(self) -> Data:
        """Fields of a ClustersConfigDump."""
        kind = ResourceType.CLUSTER
        found = self.by_kind[kind]
        active = [
            {**_state(kind, "cluster", held), **_error(kind, found.refused.get(name))}
            for name, held in sorted(found.held.items())
        ]
        warming = [_state(kind, "cluster", held) for _, held in sorted(found.warming.items())]
        # One that was never in force is not shown: tools expect a cluster in each.
        return _set(version_info=found.version, dynamic_active_clusters=active, dynamic_warming_clusters=warming)

    def listeners(self) -> Data:
        """Fields of a ListenersConfigDump."""
        kind = ResourceType.LISTENER
        found = self.by_kind[kind]
        shown = []
        for name in found.names:
            held, warming = found.held.get(name), found.warming.get(name)
            one = _set(
                name=name,
                active_state=_state(kind, "listener", held) if held is not None else None,
                warming_state=_state(kind, "listener", warming) if warming is not None else None,
            )
            shown.append({**one, **_error(kind, found.refused.get(name))})
        return _set(version_info=found.version, dynamic_listeners=shown)

    def routes(self) -> Data:
        """Fields of a RoutesConfigDump."""
        kind = ResourceType.ROUTES
        found = self.by_kind[kind]
        shown = [
            {**_state(kind, "route_config", held), **_error(kind, found.refused.get(name))}
            for name, held in sorted(found.held.items())
        ]
        return _set(dynamic_route_configs=shown)

    def scopes(self) -> Data:
        """Fields of a ScopedRoutesConfigDump. Who uses the scopes of a source gives them their name."""
        shown = []
        for slot, held in sorted(self.by_kind[ResourceType.SCOPED_ROUTES].held.items()):
            found = [typed(parse(ResourceType.SCOPED_ROUTES, body)) for body in unpack_scopes(held.body)]
            last = {"last_updated": moment(held.updated)}
            name = self.scope_names.get(slot, _shown(slot))
            shown.append({**_set(name=name, version_info=held.version, scoped_route_configs=found), **last})
        return _set(dynamic_scoped_route_configs=shown)

    def extensions(self) -> Data:
        """Fields of an EcdsConfigDump."""
        kind = ResourceType.EXTENSION
        found = self.by_kind[kind]
        shown = [
            {**_state(kind, "ecds_filter", held), **_error(kind, found.refused.get(name))}
            for name, held in sorted(found.held.items())
        ]
        return _set(ecds_filters=shown)

    def secrets(self) -> Data:
        """Fields of a SecretsConfigDump, without what is secret in them."""
        kind = ResourceType.SECRET
        found = self.by_kind[kind]
        active = [
            {"name": _shown(name), **_state(kind, "secret", held), **_error(kind, found.refused.get(name))}
            for name, held in sorted(found.held.items())
        ]
        return _set(dynamic_active_secrets=active)


def typed(message: Any) -> Data:
    """A message as the content of an Any."""
    return {"@type": f"{URL_PREFIX}{message.DESCRIPTOR.full_name}", **as_dict(message)}


def moment(seconds: float) -> str:
    """A `google.protobuf.Timestamp` as JSON, in milliseconds."""
    when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"


def _shown(name: str) -> str:
    """Without the mark of its source."""
    return name.partition("\0")[0]


def _state(kind: ResourceType, field_name: str, held: Held) -> Data:
    shown = {field_name: typed(parse(kind, held.body)), "last_updated": moment(held.updated)}
    return {**_set(version_info=held.version), **shown}


def _error(kind: ResourceType, refused: Refusal | None) -> Data:
    """envoy.admin.v3.UpdateFailureState"""
    if refused is None:
        return {}
    state = _set(
        failed_configuration=_readable(kind, refused.body),
        last_update_attempt=moment(refused.when),
        details=refused.reason,
        version_info=refused.version,
    )
    return {"error_state": state}


def _readable(kind: ResourceType, body: bytes) -> Data | None:
    try:
        return typed(parse(kind, body))
    except Exception:  # noqa: BLE001 - it was refused, and may be anything
        return None


def _set(**fields: str | Data | Iterable[Data] | None) -> Data:
    """Those that are not empty, as protobuf does."""
    return {name: value for name, value in fields.items() if value}
