"""What a proxy of the mesh is told: the resources of one node, as messages of the Envoy API.

A node is what it says it is: its `cluster` is the name of a service or of a gateway, its `id` may be that of one
sidecar.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pyproxy.config.descriptors import message_class
from pyproxy.config.fill import Filling
from pyproxy.control_plane.mesh import Gateway, HostPort, Instance, Mesh, Service
from pyproxy.control_plane.observing import COLLECTOR, URL, observing

CLUSTER: Final = f"{URL}envoy.config.cluster.v3.Cluster"
ENDPOINTS: Final = f"{URL}envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER: Final = f"{URL}envoy.config.listener.v3.Listener"
ROUTES: Final = f"{URL}envoy.config.route.v3.RouteConfiguration"
SECRET: Final = f"{URL}envoy.extensions.transport_sockets.tls.v3.Secret"
TYPES: Final = (SECRET, CLUSTER, ENDPOINTS, LISTENER, ROUTES)
"""In the order in which they are sent: what is needed comes before what needs it."""

OWN: Final = "default"
ROOT: Final = "ROOTCA"
_EXTENSIONS: Final = f"{URL}envoy.extensions."
_NO_WORD: Final = re.compile(r"[^A-Za-z0-9_-]+")
"""What would end a part of the name of a statistic, or look odd in it."""
_ADS: Final = {"ads": {}, "resource_api_version": "V3"}
_ELSEWHERE: Final[Mapping[str, Any]] = {
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {"@type": f"{_EXTENSIONS}retry.host.previous_hosts.v3.PreviousHostsPredicate"},
        }
    ],
    "host_selection_retry_max_attempts": 3,
}
"""A retry goes to another host, where there is one."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate with its key, and whose certificates it trusts; all PEM."""

    chain: bytes
    key: bytes
    root: bytes


Resources = dict[str, dict[str, bytes]]
"""Serialised messages by name, by type."""


Made = dict[str, list[tuple[str, dict[str, Any]]]]
"""Messages as mappings, by type, with their names."""


@dataclass(frozen=True, slots=True)
class _Node:
    """For whom resources are made."""

    mesh: Mesh
    name: str
    made: Made


def resources_of(mesh: Mesh, node_cluster: str, node_id: str, pair: KeyPair | None) -> Resources:
    """All resources of a node; none of any type for one that is not in the mesh."""
    made: Made = {type_url: [] for type_url in TYPES}
    node = _Node(mesh, node_id or node_cluster, made)
    service, gateway = mesh.services.get(node_cluster), mesh.gateways.get(node_cluster)
    if service is not None:
        _sidecar(node, service)
    elif gateway is not None:
        _gateway(node, gateway)
    if mesh.telemetry.traces is not None and (service is not None or gateway is not None):
        made[CLUSTER].append((COLLECTOR, _static_cluster(COLLECTOR, mesh.telemetry.traces)))
    if pair is not None and (service is not None or gateway is not None):
        made[SECRET] = [(OWN, _own_secret(pair)), (ROOT, _root_secret(pair))]
    return {type_url: {name: _message(type_url, one) for name, one in listed} for type_url, listed in made.items()}


def _sidecar(node: _Node, service: Service) -> None:
    mesh, made = node.mesh, node.made
    calls = dict(service.calls)
    for instance in service.beside(node.name):
        calls.update(instance.calls)
        if instance.proxy is not None:
            local = f"local:{instance.app}"
            made[CLUSTER].append((local, _static_cluster(local, instance.app)))
            inbound = _inbound(node, service, instance.proxy, local)
            made[LISTENER].append((inbound["name"], inbound))
    for name, address in calls.items():
        called = mesh.services[name]
        _add_service(mesh, called, made)
        hosts = [{"name": name, "domains": ["*"], "routes": [_route(called, "/")]}]
        _add_outbound(node, f"outbound:{name}", address, hosts)


def _gateway(node: _Node, gateway: Gateway) -> None:
    services = node.mesh.services
    by_host: dict[str, list[dict[str, Any]]] = {}
    for name in dict.fromkeys(route.service for route in gateway.routes):
        _add_service(node.mesh, services[name], node.made)
    for route in sorted(gateway.routes, key=lambda one: -len(one.prefix)):
        by_host.setdefault(route.host, []).append(_route(services[route.service], route.prefix))
    hosts = [
        {"name": host, "domains": [host] if host == "*" else [host, f"{host}:*"], "routes": routes}
        for host, routes in by_host.items()
    ]
    _add_outbound(node, f"gateway:{gateway.name}", gateway.listen, hosts)


def _add_outbound(node: _Node, name: str, address: HostPort, hosts: list[dict[str, Any]]) -> None:
    """A listener for requests that leave, and its table."""
    node.made[ROUTES].append((name, {"name": name, "virtual_hosts": hosts}))
    routes = {"rds": {"route_config_name": name, "config_source": _ADS}}
    chain = {"filters": [_connection_manager(node, name, routes)]}
    listener = {"name": name, "address": _address(address), "filter_chains": [chain], "traffic_direction": "OUTBOUND"}
    node.made[LISTENER].append((name, listener))


def _add_service(mesh: Mesh, service: Service, made: Made) -> None:
    """Its clusters, one for each version, and their hosts."""
    for version in service.versions:
        name = f"{service.name}|{version}"
        if any(known == name for known, _ in made[CLUSTER]):
            continue
        made[CLUSTER].append((name, _cluster(mesh, service, name, service.of_version(version))))
        hosts = [
            {"endpoint": {"address": _address(instance.proxy or instance.app)}}
            for instance in service.of_version(version)
        ]
        made[ENDPOINTS].append((name, {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}))


def _cluster(mesh: Mesh, service: Service, name: str, instances: Iterable[Instance]) -> dict[str, Any]:
    cluster: dict[str, Any] = {
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": _ADS},
        "connect_timeout": "1s",
    }
    if service.breakers is not None:
        limits = service.breakers
        thresholds = {
            "max_connections": limits.connections,
            "max_pending_requests": limits.pending,
            "max_requests": limits.requests,
            "max_retries": limits.retries,
        }
        cluster["circuit_breakers"] = {"thresholds": [thresholds]}
    if service.outliers is not None:
        cluster["outlier_detection"] = {
            "consecutive_5xx": service.outliers.consecutive_5xx,
            "base_ejection_time": _seconds(service.outliers.ejection_time),
            "interval": _seconds(service.outliers.interval),
            "max_ejection_percent": 100,
        }
    if mesh.mtls and any(instance.proxy is not None for instance in instances):
        identity = {"san_type": "URI", "matcher": {"exact": mesh.spiffe_id(service.name)}}
        context = {"common_tls_context": _tls(identity), "sni": service.name}
        cluster["transport_socket"] = _typed(
            "envoy.transport_sockets.tls", "transport_sockets.tls.v3.UpstreamTlsContext", context
        )
    return cluster


def _static_cluster(name: str, at: HostPort) -> dict[str, Any]:
    hosts = [{"endpoint": {"address": _address(at)}}]
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": assignment}


def _inbound(node: _Node, service: Service, address: HostPort, local: str) -> dict[str, Any]:
    mesh = node.mesh
    name = f"inbound:{service.name}:{address}"
    # How long a call may take is up to the caller.
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": local, "timeout": "0s"}}]
    table = {"name": name, "virtual_hosts": [{"name": service.name, "domains": ["*"], "routes": routes}]}
    chain: dict[str, Any] = {"filters": [_connection_manager(node, name, {"route_config": table})]}
    if mesh.mtls:
        context = {"common_tls_context": _tls(None), "require_client_certificate": True}
        chain["transport_socket"] = _typed(
            "envoy.transport_sockets.tls", "transport_sockets.tls.v3.DownstreamTlsContext", context
        )
        if service.allow is not None and "*" not in service.allow:
            chain["filters"].insert(0, _access(mesh, service))
    return {"name": name, "address": _address(address), "filter_chains": [chain], "traffic_direction": "INBOUND"}


def _access(mesh: Mesh, service: Service) -> dict[str, Any]:
    principals = [
        {"authenticated": {"principal_name": {"exact": mesh.spiffe_id(name)}}} for name in service.allow or ()
    ]
    policies = {"callers": {"permissions": [{"any": True}], "principals": principals}} if principals else {}
    config = {"stat_prefix": service.name, "rules": {"action": "ALLOW", "policies": policies}}
    return _typed("envoy.filters.network.rbac", "filters.network.rbac.v3.RBAC", config)


def _route(service: Service, prefix: str) -> dict[str, Any]:
    """To the versions of a service by their weights; without weights all are alike."""
    versions = service.versions
    action: dict[str, Any] = {"timeout": _seconds(service.timeout)}
    weights = {one: service.weights.get(one, 0 if service.weights else 1) for one in versions}
    if not versions:
        return {"match": {"prefix": prefix}, "direct_response": {"status": 503}}
    if len(versions) == 1:
        action["cluster"] = f"{service.name}|{versions[0]}"
    else:
        clusters = [{"name": f"{service.name}|{one}", "weight": weight} for one, weight in weights.items()]
        action["weighted_clusters"] = {"clusters": clusters}
    if service.retries is not None:
        retries = service.retries
        policy: dict[str, Any] = {"retry_on": retries.on, "num_retries": retries.attempts, **_ELSEWHERE}
        if retries.per_try_timeout:
            policy["per_try_timeout"] = _seconds(retries.per_try_timeout)
        action["retry_policy"] = policy
    return {"match": {"prefix": prefix}, "route": action}


def _connection_manager(node: _Node, name: str, routes: Mapping[str, Any]) -> dict[str, Any]:
    config = {
        "stat_prefix": _NO_WORD.sub("_", name),
        "http_filters": [_typed("envoy.filters.http.router", "filters.http.router.v3.Router", {})],
        **routes,
        **observing(node.mesh.telemetry, node.name, name),
    }
    kind = "filters.network.http_connection_manager.v3.HttpConnectionManager"
    return _typed("envoy.filters.network.http_connection_manager", kind, config)


def _tls(identity: Mapping[str, Any] | None) -> dict[str, Any]:
    """Our certificate, and whom we trust; with `identity` who it has to be."""
    checks = {"match_typed_subject_alt_names": [identity]} if identity is not None else {}
    return {
        "tls_certificate_sds_secret_configs": [{"name": OWN, "sds_config": _ADS}],
        "combined_validation_context": {
            "default_validation_context": checks,
            "validation_context_sds_secret_config": {"name": ROOT, "sds_config": _ADS},
        },
    }


def _own_secret(pair: KeyPair) -> dict[str, Any]:
    certificate = {
        "certificate_chain": {"inline_string": pair.chain.decode()},
        "private_key": {"inline_string": pair.key.decode()},
    }
    return {"name": OWN, "tls_certificate": certificate}


def _root_secret(pair: KeyPair) -> dict[str, Any]:
    return {"name": ROOT, "validation_context": {"trusted_ca": {"inline_string": pair.root.decode()}}}


def _typed(name: str, kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": _EXTENSIONS + kind, **config}}


def _address(at: HostPort) -> dict[str, Any]:
    return {"socket_address": {"address": at.host, "port_value": at.port}}


def _seconds(value: float) -> str:
    return f"{value:g}s"


def _message(type_url: str, fields: dict[str, Any]) -> bytes:
    message = message_class(type_url.removeprefix(URL))()
    filling = Filling()
    filling.fields(message, fields, ())
    assert not filling.faults, filling.faults
    data: bytes = message.SerializeToString(deterministic=True)
    return data
