"""The control planes of a proxy: sources of resources for whoever applies them.

Lives in the process that has the streams; it needs a loop, who we are, the clusters of the bootstrap and a place to
count.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pyproxy import clock
from pyproxy.clusters.discovery.resolvers import Resolvers
from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.cluster import ClusterConfig
from pyproxy.config.config_source import (
    AdsSourceConfig,
    ApiSourceConfig,
    ApiType,
    ConfigSourceConfig,
    GrpcServiceConfig,
)
from pyproxy.config.dns import ResolverConfig
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.xds_stats import ControlPlaneStats, SubscriptionStats
from pyproxy.xds_client.node import AgentConfig, node_message
from pyproxy.xds_client.protocol import types
from pyproxy.xds_client.protocol.mux import Mux
from pyproxy.xds_client.protocol.pace import BackOff
from pyproxy.xds_client.subscription import ConfigSource, ResourceSink, Subscription
from pyproxy.xds_client.transport.dialer import ClusterDialer, Dialer, DialServices, google_dialer
from pyproxy.xds_client.transport.methods import aggregated_path, stream_path
from pyproxy.xds_client.transport.rest import RestPoll

if TYPE_CHECKING:
    from pyproxy.xds_client.transport.grpc_peer import GrpcPeer
    from pyproxy.xds_client.transport.grpc_stream import GrpcStream

_PREFIXES: Final = {types.CLUSTER: "cluster_manager.cds", types.LISTENER: "listener_manager.lds"}


class NoSource(Exception):
    """A source that there is not: `ads` without a stream, a cluster that is unknown."""


@dataclass(frozen=True, slots=True)
class ClientServices:
    """What the sources share."""

    loop: asyncio.AbstractEventLoop
    store: StatsStore
    rng: random.Random
    resolvers: Resolvers


class XdsClient:
    """`clusters` are those of the bootstrap, by name; `ads` is the aggregated stream, if there is one."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        node: NodeConfig,
        agent: AgentConfig,
        clusters: Mapping[str, ClusterConfig],
        ads: ApiSourceConfig | None,
        store: StatsStore,
        resolver: ResolverConfig | None = None,
    ) -> None:
        self._services = ClientServices(loop, store, clock.rng, Resolvers(loop, store, resolver))
        self._node = node_message(node, agent)
        self._clusters = clusters
        self._open: list[GrpcStream | RestPoll] = []
        self._ads: GrpcStream | None = None
        if ads is not None:
            self._ads = self._stream(ads, aggregated_path(delta=ads.api_type.delta), "")

    def source(self, config: ConfigSourceConfig) -> ConfigSource:
        """Raises NoSource. Files are not for this."""
        if isinstance(config.source, AdsSourceConfig):
            if self._ads is None:
                raise NoSource("there is no ads_config")
            return _AdsSource(self, self._ads, config.initial_fetch_timeout)
        if not isinstance(config.source, ApiSourceConfig):
            raise NoSource(f"{type(config.source).__name__} is no control plane")
        if config.source.api_type in (ApiType.AGGREGATED_GRPC, ApiType.AGGREGATED_DELTA_GRPC):
            raise NoSource(f"{config.source.api_type.value} is for ads_config")
        return _ApiSource(self, config.source, config.initial_fetch_timeout)

    def close(self) -> None:
        """Ends all streams."""
        for stream in self._open:
            stream.close()
        self._open.clear()
        self._services.resolvers.close()

    def stats(self, type_url: str, names: frozenset[str], prefix: str) -> tuple[str, SubscriptionStats]:
        """The prefix of a subscription, and its statistics."""
        prefix = prefix or _PREFIXES.get(type_url) or _prefix(type_url, names)
        return prefix, SubscriptionStats(self._services.store, prefix)

    def open_stream(self, api: ApiSourceConfig, type_url: str, prefix: str) -> GrpcStream:
        """A stream for one subscription."""
        return self._stream(api, stream_path(type_url, delta=api.api_type.delta), prefix)

    def open_poll(self, api: ApiSourceConfig, type_url: str) -> RestPoll:
        """Polling for one subscription."""
        dialer = self._dialer(api.clusters[0])
        poll = RestPoll(self._services.loop, dialer, api, type_url, self._node, self._services.rng)
        self._open.append(poll)
        return poll

    def shut(self, stream: GrpcStream | RestPoll) -> None:
        """One subscription is over."""
        stream.close()
        if stream in self._open:
            self._open.remove(stream)

    def _stream(self, api: ApiSourceConfig, path: str, prefix: str) -> GrpcStream:
        # Whoever has no control plane that speaks gRPC does not hold the libraries.
        from pyproxy.xds_client.transport.grpc_stream import GrpcStream

        mux = Mux(api, self._node, ControlPlaneStats(self._services.store, prefix), clock.monotonic)
        peers = [self._peer(service) for service in api.services]
        back_off = BackOff(api.services[0].back_off, self._services.rng)
        stream = GrpcStream(self._services.loop, mux, peers, path, back_off)
        self._open.append(stream)
        return stream

    def _peer(self, service: GrpcServiceConfig) -> GrpcPeer:
        from pyproxy.xds_client.transport.grpc_peer import GrpcPeer

        if service.google is not None:
            services = DialServices(self._services.loop, self._services.resolvers, self._services.rng)
            return GrpcPeer(service, google_dialer(service.google, services), service.google.keepalive)
        return GrpcPeer(service, self._dialer(service.cluster), _keepalive(self._clusters.get(service.cluster)))

    def _dialer(self, name: str) -> Dialer:
        cluster = self._clusters.get(name)
        if cluster is None:
            raise NoSource(f"there is no cluster {name!r}")
        return ClusterDialer(cluster, DialServices(self._services.loop, self._services.resolvers, self._services.rng))


class _AdsSource:
    """The aggregated stream, with the patience of one `ConfigSource`."""

    def __init__(self, client: XdsClient, stream: GrpcStream, fetch_timeout: float) -> None:
        self._client = client
        self._stream = stream
        self._fetch_timeout = fetch_timeout

    def subscribe(
        self, type_url: str, sink: ResourceSink, names: Iterable[str], stats_prefix: str = ""
    ) -> Subscription:
        wanted = frozenset(names)
        _, stats = self._client.stats(type_url, wanted, stats_prefix)
        watch = self._stream.mux.subscribe(type_url, sink, wanted, stats, self._fetch_timeout)
        self._stream.start()
        self._stream.wake()
        return _Awake(watch, self._stream)


class _Awake:
    """A subscription whose changes the stream hears of."""

    def __init__(self, watch: Subscription, stream: GrpcStream) -> None:
        self._watch = watch
        self._stream = stream

    def watch(self, names: Iterable[str]) -> None:
        self._watch.watch(names)
        self._stream.wake()

    def close(self) -> None:
        self._watch.close()
        self._stream.wake()


class _ApiSource:
    """A stream, or polling, for each subscription."""

    def __init__(self, client: XdsClient, api: ApiSourceConfig, fetch_timeout: float) -> None:
        self._client = client
        self._api = api
        self._fetch_timeout = fetch_timeout

    def subscribe(
        self, type_url: str, sink: ResourceSink, names: Iterable[str], stats_prefix: str = ""
    ) -> Subscription:
        wanted = frozenset(names)
        if type_url == types.SECRET and self._api.api_type is not ApiType.REST:
            # Agents that hand out secrets answer for one name on each stream (istio-agent).
            return _EachItsOwn(self, type_url, sink, wanted, stats_prefix)
        return self.open(type_url, sink, wanted, stats_prefix)

    def open(self, type_url: str, sink: ResourceSink, names: frozenset[str], stats_prefix: str) -> Subscription:
        prefix, stats = self._client.stats(type_url, names, stats_prefix)
        stream: GrpcStream | RestPoll
        if self._api.api_type is ApiType.REST:
            stream = self._client.open_poll(self._api, type_url)
        else:
            stream = self._client.open_stream(self._api, type_url, prefix)
        watch = stream.mux.subscribe(type_url, sink, names, stats, self._fetch_timeout)
        stream.start()
        stream.wake()
        return _Alone(self._client, watch, stream)


class _Alone:
    """A subscription that is all there is to its stream."""

    def __init__(self, client: XdsClient, watch: Subscription, stream: GrpcStream | RestPoll) -> None:
        self._client = client
        self._watch = watch
        self._stream = stream

    def watch(self, names: Iterable[str]) -> None:
        self._watch.watch(names)
        self._stream.wake()

    def close(self) -> None:
        self._watch.close()
        self._client.shut(self._stream)


class _EachItsOwn:
    """A stream for each name."""

    def __init__(
        self, source: _ApiSource, type_url: str, sink: ResourceSink, names: frozenset[str], stats_prefix: str
    ) -> None:
        self._source = source
        self._type_url = type_url
        self._sink = sink
        self._prefix = stats_prefix
        self._open: dict[str, Subscription] = {}
        self.watch(names)

    def watch(self, names: Iterable[str]) -> None:
        wanted = frozenset(names)
        for name in [name for name in self._open if name not in wanted]:
            self._open.pop(name).close()
        for name in wanted - self._open.keys():
            self._open[name] = self._source.open(self._type_url, self._sink, frozenset((name,)), self._prefix)

    def close(self) -> None:
        self.watch(())


def _prefix(type_url: str, names: frozenset[str]) -> str:
    """For what Envoy counts below a name that only the caller may know."""
    if type_url == types.SECRET and len(names) == 1:
        return f"sds.{next(iter(names))}"
    return f"xds.{type_url.rpartition('.')[2]}"


def _keepalive(cluster: ClusterConfig | None) -> tuple[float, float] | None:
    """PINGs of HTTP/2 (`connection_keepalive` of the cluster), where they are compiled."""
    options: Any = None if cluster is None else getattr(getattr(cluster.http, "http2", None), "keepalive", None)
    return None if options is None or not options.interval else (options.interval, options.timeout)
