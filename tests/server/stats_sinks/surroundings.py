"""A proxy in which sinks and exporters find what they are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyproxy.config.address import AddressConfig
from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.cluster import ClusterConfig, EndpointConfig
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.server.event_hub import EventHub
from tests.support.ports import LOOPBACK


@dataclass
class Nearby:
    """Implements `server.exporting.hub.Surroundings`. `clusters`: port by name."""

    clusters: Mapping[str, int] = field(default_factory=dict)
    events: EventHub = field(default_factory=lambda: EventHub(""))
    take: Callable[[dict[str, Any]], None] | None = None

    def cluster_config(self, name: str) -> ClusterConfig | None:
        port = self.clusters.get(name)
        hosts = (EndpointConfig(AddressConfig(LOOPBACK, port or 0)),)
        return None if port is None else ClusterConfig(name, endpoints=hosts)

    def hear_exports(self, take: Callable[[dict[str, Any]], None]) -> None:
        self.take = take

    @property
    def node(self) -> NodeConfig:
        return NodeConfig(id="node-1", cluster="service-1", zone="zone-1")

    def runtime_values(self) -> RuntimeValues:
        return RuntimeValues()


NOBODY = Nearby()
