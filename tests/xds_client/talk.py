"""A `Mux` and its control plane without a network: what it would send, and responses put into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyproxy.config.config_source import ApiSourceConfig, ApiType, RateLimitConfig
from pyproxy.config.descriptors import message_class
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.xds_stats import ControlPlaneStats, SubscriptionStats
from pyproxy.xds_client.protocol.mux import Mux
from pyproxy.xds_client.protocol.watch import Watch
from pyproxy.xds_client.subscription import Update

DISCOVERY = "envoy.service.discovery.v3."


class Sink:
    """Keeps what it was told; refuses resources whose names or bodies a test says."""

    def __init__(self, refuse: Mapping[str, str] | None = None) -> None:
        self.updates: list[Update] = []
        self.missing: list[str] = []
        self.applied: dict[str, bytes] = {}
        self.refuse = dict(refuse or {})

    def on_update(self, update: Update) -> Mapping[str, str]:
        self.updates.append(update)
        refused = {one.name: self.refuse[one.name] for one in update.added if one.name in self.refuse}
        self.applied.update({one.name: one.body for one in update.added if one.name not in refused})
        for name in update.removed:
            self.applied.pop(name, None)
        return refused

    def on_missing(self, name: str) -> None:
        self.missing.append(name)

    @property
    def last(self) -> tuple[list[str], list[str]]:
        """The names that the last update added and removed."""
        update = self.updates[-1]
        return [one.name for one in update.added], list(update.removed)


class Talk:
    """`now` is moved by the test."""

    def __init__(
        self,
        api_type: ApiType = ApiType.AGGREGATED_GRPC,
        *,
        node_once: bool = False,
        limit: RateLimitConfig | None = None,
    ) -> None:
        self.now = 100.0
        self.store = StatsStore()
        config = ApiSourceConfig(api_type, rate_limit=limit, set_node_on_first_message_only=node_once)
        node = message_class("envoy.config.core.v3.Node")(id="me")
        self.stats = ControlPlaneStats(self.store)
        self.mux = Mux(config, node, self.stats, lambda: self.now)
        self._request = DISCOVERY + ("DeltaDiscoveryRequest" if api_type.delta else "DiscoveryRequest")

    def subscribe(self, type_url: str, sink: Sink, names: Iterable[str], *, timeout: float = 0.0) -> Watch:
        return self.mux.subscribe(type_url, sink, names, self.stats_of(sink), timeout)

    def stats_of(self, sink: Sink) -> SubscriptionStats:
        return SubscriptionStats(self.store, f"sink.{id(sink)}")

    def put(self, response: Any) -> None:
        self.mux.receive(response.SerializeToString())

    def sent(self) -> list[Any]:
        """All requests that may go out now."""
        found = []
        while (request := self.mux.next_request()) is not None:
            found.append(message_class(self._request).FromString(request))
        return found

    def one(self) -> Any:
        """The only request that may go out now."""
        (request,) = self.sent()
        return request
