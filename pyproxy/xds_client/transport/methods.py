"""Where each type is asked for: the methods of the xDS services."""

from __future__ import annotations

from typing import Final

from pyproxy.xds_client.protocol import types

_ADS: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
_SERVICES: Final = {
    types.CLUSTER: ("cluster.v3.ClusterDiscoveryService", "Clusters", "clusters"),
    types.ENDPOINTS: ("endpoint.v3.EndpointDiscoveryService", "Endpoints", "endpoints"),
    types.LB_ENDPOINT: ("endpoint.v3.LocalityEndpointDiscoveryService", "LocalityEndpoints", ""),
    types.LISTENER: ("listener.v3.ListenerDiscoveryService", "Listeners", "listeners"),
    types.ROUTES: ("route.v3.RouteDiscoveryService", "Routes", "routes"),
    types.SCOPED_ROUTES: ("route.v3.ScopedRoutesDiscoveryService", "ScopedRoutes", "scoped-routes"),
    types.VIRTUAL_HOST: ("route.v3.VirtualHostDiscoveryService", "VirtualHosts", ""),
    types.SECRET: ("secret.v3.SecretDiscoveryService", "Secrets", "secrets"),
    types.EXTENSION: ("extension.v3.ExtensionConfigDiscoveryService", "ExtensionConfigs", "extension_configs"),
    types.RUNTIME: ("runtime.v3.RuntimeDiscoveryService", "Runtime", "runtime"),
}


class NoMethod(Exception):
    """A type that cannot be asked for in this way."""


def aggregated_path(*, delta: bool) -> str:
    return _ADS + ("DeltaAggregatedResources" if delta else "StreamAggregatedResources")


def stream_path(type_url: str, *, delta: bool) -> str:
    """Of the stream of one type. Raises NoMethod."""
    service, method, _ = _service(type_url)
    return f"/envoy.service.{service}/{'Delta' if delta else 'Stream'}{method}"


def rest_path(type_url: str) -> str:
    """Of the request of one type. Raises NoMethod."""
    word = _service(type_url)[2]
    if not word:
        raise NoMethod(f"{type_url} cannot be polled")
    return f"/v3/discovery:{word}"


def _service(type_url: str) -> tuple[str, str, str]:
    found = _SERVICES.get(type_url)
    if found is None:
        raise NoMethod(f"{type_url} has no service of its own")
    return found
