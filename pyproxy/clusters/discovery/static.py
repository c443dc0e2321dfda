"""STATIC discovery: the configuration says it all."""

from __future__ import annotations

from pyproxy.clusters.discovery.discovery import Discovering
from pyproxy.clusters.membership import members_of
from pyproxy.config.cluster import EndpointConfig


class StaticDiscovery:
    """The endpoints of the configuration, once."""

    __slots__ = ("_endpoints",)

    def __init__(self, endpoints: tuple[EndpointConfig, ...]) -> None:
        self._endpoints = endpoints

    def start(self, cluster: Discovering) -> None:
        cluster.on_members(members_of(self._endpoints))
        cluster.on_settled()

    def close(self) -> None:
        pass
