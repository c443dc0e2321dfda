"""Resources that stand in a file, which is watched (Envoy: `path_config_source`): each is a DiscoveryResponse.

A file may be written in place, moved over, or swapped behind a symbolic link, as Kubernetes does with volumes. What
cannot be read changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pyproxy.config.any_message import unpack_at
from pyproxy.config.config_source import PathSourceConfig
from pyproxy.config.invalid import Fault, InvalidConfig
from pyproxy.config.load import load_file
from pyproxy.config.resources import ResourceType, name_of
from pyproxy.tasks import call_every
from pyproxy.xds_client.subscription import WILDCARD, Resource, ResourceSink, Update

log = logging.getLogger("pyproxy.xds.path")

INTERVAL: Final = 0.25
"""Seconds between looks. A look is one or two `stat`."""
_RESPONSE: Final = "envoy.service.discovery.v3.DiscoveryResponse"
_WRAPPER: Final = "envoy.service.discovery.v3.Resource"

_Fingerprint = tuple[int, int, int] | None


class PathSource:
    """One file. Implements `subscription.ConfigSource`. `on_failure` hears why it could not be read."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: PathSourceConfig,
        *,
        allow_unknown: bool = False,
        on_failure: Callable[[str, str], None] = lambda type_url, reason: None,
    ) -> None:
        self._loop = loop
        self._config = config
        self._allow_unknown = allow_unknown
        self._on_failure = on_failure
        self._subscriptions: list[PathSubscription] = []
        self._seen = self._look()
        self._settling: tuple[_Fingerprint, ...] | None = None
        self._contents: tuple[str, tuple[tuple[str, Resource], ...]] | None = None
        self._stop: Callable[[], None] | None = None

    def subscribe(self, type_url: str, sink: ResourceSink, names: Iterable[str]) -> PathSubscription:
        if self._stop is None:
            self._stop = call_every(self._loop, INTERVAL, self._tick)
            self._read()
        made = PathSubscription(self, type_url, sink, names)
        self._subscriptions.append(made)
        self._loop.call_soon(made.deliver, made.names)
        return made

    def drop(self, subscription: PathSubscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
        if not self._subscriptions and self._stop is not None:
            self._stop()
            self._stop = None

    def schedule(self, subscription: PathSubscription, names: frozenset[str]) -> None:
        """It watches these names besides."""
        self._loop.call_soon(subscription.deliver, names)

    def contents(self, type_url: str) -> tuple[str, tuple[Resource, ...]] | None:
        """(version, resources of a type), None where nothing was ever read. Raises InvalidConfig for other types."""
        if self._contents is None:
            return None
        version, resources = self._contents
        for found, resource in resources:
            if found != type_url:
                reason = f"{self._config.path}: {resource.name!r} is a {found}, and {type_url} was expected"
                raise InvalidConfig([Fault((), reason)])
        return version, tuple(resource for _, resource in resources)

    def _tick(self) -> None:
        now = self._look()
        if now == self._seen:
            return
        same_file = now[0] is not None and self._seen[0] is not None and now[0][0] == self._seen[0][0]
        if same_file and now != self._settling:
            # It is being written in place: when it looks the same twice, it is whole.
            self._settling = now
            return
        self._seen, self._settling = now, None
        if self._read():
            for one in list(self._subscriptions):
                one.deliver(one.names)

    def _read(self) -> bool:
        path = self._config.path
        try:
            self._contents = read_response(path, allow_unknown=self._allow_unknown)
        except InvalidConfig as error:
            reason = "; ".join(f"{fault.place or path}: {fault}" for fault in error.faults[:3])
            log.warning("%s cannot be used, so what was there before stays: %s", path, reason)
            for one in self._subscriptions:
                self._on_failure(one.type_url, reason)
            return False
        return True

    def _look(self) -> tuple[_Fingerprint, ...]:
        watched = self._config.watched_directory
        return (_fingerprint(self._config.path), _fingerprint(watched) if watched else None)

    def __repr__(self) -> str:
        return f"<PathSource {self._config.path}, {len(self._subscriptions)} subscriptions>"


class PathSubscription:
    """One type from one file."""

    def __init__(self, source: PathSource, type_url: str, sink: ResourceSink, names: Iterable[str]) -> None:
        self.type_url = type_url
        self._source = source
        self._sink = sink
        self.names = frozenset(names)
        self._closed = False

    def watch(self, names: Iterable[str]) -> None:
        before, self.names = self.names, frozenset(names)
        if self.names - before:
            self._source.schedule(self, self.names - before)

    def close(self) -> None:
        self._closed = True
        self._source.drop(self)

    def deliver(self, names: frozenset[str]) -> None:
        """Tell the sink what the file says about some of what it watches."""
        if self._closed:
            return
        try:
            found = self._source.contents(self.type_url)
        except InvalidConfig as error:
            log.warning("%s", error)
            return
        if found is None:
            return
        version, resources = found
        everything = WILDCARD in names
        wanted = resources if everything else tuple(one for one in resources if one.name in names)
        reasons: Mapping[str, str] = self._sink.on_update(Update(self.type_url, version, wanted, (), everything))
        for name, reason in reasons.items():
            log.warning("%s %r, version %r, is refused: %s", self.type_url.rpartition(".")[2], name, version, reason)
        if not everything:
            for name in names - {one.name for one in wanted}:
                self._sink.on_missing(name)


def read_response(path: str, *, allow_unknown: bool = False) -> tuple[str, tuple[tuple[str, Resource], ...]]:
    """(version, (type URL, resource) of each) of a file with a DiscoveryResponse. Raises InvalidConfig."""
    loaded = load_file(path, _RESPONSE, allow_unknown=allow_unknown)
    if loaded.faults:
        raise InvalidConfig(loaded.faults)
    message: Any = loaded.message
    return message.version_info, tuple(
        _resource(packed, at, message.version_info) for at, packed in enumerate(message.resources)
    )


def _resource(packed: Any, at: int, version: str) -> tuple[str, Resource]:
    type_name = packed.type_url.rpartition("/")[2]
    name = ""
    if type_name == _WRAPPER:
        wrapper: Any = unpack_at(packed, ("resources", at))
        packed, version, name = wrapper.resource, wrapper.version or version, wrapper.name
        type_name = packed.type_url.rpartition("/")[2]
    inner = unpack_at(packed, ("resources", at))
    try:
        kind = ResourceType(type_name)
    except ValueError:
        raise InvalidConfig([Fault(("resources", at), f"{type_name} is no resource")]) from None
    return kind.url, Resource(name or name_of(kind, inner), version, bytes(packed.value))


def _fingerprint(path: str) -> _Fingerprint:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
