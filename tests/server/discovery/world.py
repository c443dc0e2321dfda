"""A manager without processes: resources that a test hands in, a loop that turns when it is told, and a journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pyproxy.config.config_source import AdsSourceConfig, ConfigSourceConfig
from pyproxy.config.resources import ResourceCompiler, ResourceType
from pyproxy.filters.builtin import EXTENSIONS
from pyproxy.server.discovery.clusters import Clusters
from pyproxy.server.discovery.journal import Journal, JournalReader, Operation
from pyproxy.server.discovery.named import NamedResources
from pyproxy.server.discovery.sources import Sources
from pyproxy.server.discovery.store import ResourceStore
from pyproxy.xds_client.subscription import Resource, ResourceSink, Update
from tests.support.snapshot_server import message_of

ADS = ConfigSourceConfig(AdsSourceConfig(), 15.0)
COMPILER = ResourceCompiler(EXTENSIONS, allow_unknown=True, check=True)
URL = "type.googleapis.com/"


class Loop:
    """`turn` does what is due; `pass_time` lets timers run out."""

    def __init__(self) -> None:
        self._soon: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._later: list[Timer] = []
        self._now = 0.0

    def call_soon(self, callback: Callable[..., None], *args: Any) -> None:
        self._soon.append((callback, args))

    def call_later(self, seconds: float, callback: Callable[..., None], *args: Any) -> Timer:
        timer = Timer(self._now + seconds, callback, args)
        self._later.append(timer)
        return timer

    def turn(self) -> None:
        while self._soon:
            soon, self._soon = self._soon, []
            for callback, args in soon:
                callback(*args)

    def pass_time(self, seconds: float) -> None:
        self.turn()
        self._now += seconds
        due = [one for one in self._later if one.at <= self._now]
        self._later = [one for one in self._later if one.at > self._now]
        for one in due:
            if not one.cancelled:
                one.callback(*one.args)
        self.turn()


class Timer:
    def __init__(self, at: float, callback: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.at = at
        self.callback = callback
        self.args = args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Source:
    """Remembers who watches what of each type. Implements `ConfigSource`."""

    def __init__(self) -> None:
        self.watched: dict[str, set[str]] = {}
        self.sinks: dict[str, ResourceSink] = {}

    def subscribe(self, type_url: str, sink: ResourceSink, names: Iterable[str]) -> Watching:
        self.watched[type_url] = set(names)
        self.sinks[type_url] = sink
        return Watching(self, type_url)

    def send(self, type_url: str, *resources: Resource, removed: tuple[str, ...] = ()) -> Mapping[str, str]:
        return self.sinks[type_url].on_update(Update(type_url, "v", resources, removed, False))


class Watching:
    def __init__(self, source: Source, type_url: str) -> None:
        self._source = source
        self._type_url = type_url

    def watch(self, names: Iterable[str]) -> None:
        self._source.watched[self._type_url] = set(names)

    def close(self) -> None:
        del self._source.watched[self._type_url]


class ManagerWorld:
    """CDS and EDS."""

    def __init__(self) -> None:
        self.loop: Any = Loop()
        self.source = Source()
        self.journal = Journal()
        self.changes = 0
        self._begin()

    def _begin(self) -> None:
        sources = Sources(self.loop, lambda config: self.source, allow_unknown=True)
        self.store = ResourceStore(self.loop, self.journal, lambda: None)
        self.endpoints = NamedResources(
            self.loop, ResourceType.ENDPOINTS, sources, self.store, lambda body: COMPILER.endpoints(body).stale_after
        )
        self.secrets = NamedResources(self.loop, ResourceType.SECRET, sources, self.store, lambda body: 0.0)
        self.clusters = Clusters(self.store, self.endpoints, self.secrets, COMPILER, (), self._changed)
        self.loop.turn()

    def restart(self) -> None:
        """The manager dies and comes back; the journal is still there."""
        self.loop = Loop()
        self.source = Source()
        self._begin()

    def _changed(self) -> None:
        self.changes += 1

    def cds(self, *resources: Resource, removed: tuple[str, ...] = ()) -> Mapping[str, str]:
        found = self.clusters.on_update(Update(ResourceType.CLUSTER.url, "v", resources, removed, False))
        self.loop.turn()
        return found

    def eds(self, *resources: Resource) -> Mapping[str, str]:
        found = self.source.send(ResourceType.ENDPOINTS.url, *resources)
        self.loop.turn()
        return found

    def written(self) -> dict[tuple[ResourceType, str], bytes]:
        """What a worker that begins now would know."""
        state: dict[tuple[ResourceType, str], bytes] = {}
        reader = JournalReader(self.journal)
        while records := reader.read():
            for one in records:
                if one.operation is Operation.PUT:
                    state[one.kind, one.name] = one.body
                elif one.operation is Operation.REMOVE:
                    del state[one.kind, one.name]
        return state

    def names(self, kind: ResourceType) -> set[str]:
        return {name for one, name in self.written() if one is kind}

    def close(self) -> None:
        self.journal.close()


def cluster(name: str, *, eds: str = "", timeout: str = "1s", version: str = "v", **more: Any) -> Resource:
    """With `eds` the hosts come under that name."""
    data: dict[str, Any] = {"@type": ResourceType.CLUSTER.url, "name": name, "connect_timeout": timeout, **more}
    if eds:
        data["type"] = "EDS"
        data["eds_cluster_config"] = {"eds_config": {"ads": {}}, "service_name": eds}
    return Resource(name, version, message_of(data).SerializeToString(deterministic=True))


def hosts(name: str, *ports: int, **more: Any) -> Resource:
    found = [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": p}}}} for p in ports]
    data = {
        "@type": ResourceType.ENDPOINTS.url,
        "cluster_name": name,
        "endpoints": [{"lb_endpoints": found}],
        **more,
    }
    return Resource(name, "v", message_of(data).SerializeToString(deterministic=True))
