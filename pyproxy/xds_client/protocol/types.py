"""The types of resources that the protocol itself has to know."""

from __future__ import annotations

from typing import Final

_URL: Final = "type.googleapis.com/envoy."
CLUSTER: Final = _URL + "config.cluster.v3.Cluster"
ENDPOINTS: Final = _URL + "config.endpoint.v3.ClusterLoadAssignment"
LISTENER: Final = _URL + "config.listener.v3.Listener"
ROUTES: Final = _URL + "config.route.v3.RouteConfiguration"
SCOPED_ROUTES: Final = _URL + "config.route.v3.ScopedRouteConfiguration"
VIRTUAL_HOST: Final = _URL + "config.route.v3.VirtualHost"
SECRET: Final = _URL + "extensions.transport_sockets.tls.v3.Secret"
EXTENSION: Final = _URL + "config.core.v3.TypedExtensionConfig"
RUNTIME: Final = _URL + "service.runtime.v3.Runtime"
LB_ENDPOINT: Final = _URL + "config.endpoint.v3.LbEndpoint"

WHOLE_WORLD: Final = {CLUSTER: "cluster", LISTENER: "listener"}
"""How Envoy calls one of the types of which there is one list for the whole proxy."""

COMPLETE: Final = frozenset((*WHOLE_WORLD, SCOPED_ROUTES))
"""The types of which a SotW response holds everything."""

_ORDER: Final = (RUNTIME, SECRET, CLUSTER, ENDPOINTS, LB_ENDPOINT, LISTENER, EXTENSION, ROUTES, SCOPED_ROUTES)


def rank(type_url: str) -> int:
    """What is asked for first: what is needed comes before what needs it."""
    return _ORDER.index(type_url) if type_url in _ORDER else len(_ORDER)
