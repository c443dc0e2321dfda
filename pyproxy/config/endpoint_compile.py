"""Compiles the hosts of a cluster: protobuf -> `config.cluster.EndpointConfig`.

Envoy: envoy.config.endpoint.v3.ClusterLoadAssignment.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any, Final

from pyproxy.config.address import AddressConfig, compile_address
from pyproxy.config.cluster import AssignmentConfig, EndpointConfig
from pyproxy.config.metadata import compile_metadata
from pyproxy.config.view import View

# EDS health that keeps a host out of the rotation (Envoy: HostUtility, health from EDS).
_UNHEALTHY: Final = frozenset(("UNHEALTHY", "DRAINING", "TIMEOUT"))


def compile_assignment(view: View) -> AssignmentConfig:
    """A `ClusterLoadAssignment` that came by EDS."""
    policy = view.child("policy")
    stale = None if policy is None else policy.seconds("endpoint_stale_after")
    return AssignmentConfig(compile_endpoints(view, names=False), stale or 0.0, **compile_spread(view))


def compile_endpoints(view: View, *, names: bool) -> tuple[EndpointConfig, ...]:
    """A `ClusterLoadAssignment`. With `names` addresses may be names, for DNS."""
    view.ignore("cluster_name")  # only EDS asks for it
    view.ignore("named_endpoints")  # used by reference only, and references are refused below
    policy = view.child("policy")
    if policy is not None:
        policy.ignore("endpoint_stale_after")  # only EDS asks for it
    return tuple(endpoint for locality in view.children("endpoints") for endpoint in _locality(locality, names=names))


def compile_spread(view: View) -> dict[str, Any]:
    """The fields of ClusterConfig and AssignmentConfig that a `ClusterLoadAssignment` says about its priorities."""
    policy = view.child("policy")
    if policy is None:
        return {}
    factor = policy.wrapped("overprovisioning_factor")
    weighted = {"weighted_priority_health": bool(policy.scalar("weighted_priority_health"))}
    return weighted if factor is None else {**weighted, "overprovisioning": factor}


def _locality(view: View, *, names: bool) -> tuple[EndpointConfig, ...]:
    view.ignore("proximity")  # nothing asks for it, in Envoy either
    place = view.child("locality")
    region, zone, sub_zone = ("", "", "") if place is None else (place.text(f) for f in ("region", "zone", "sub_zone"))
    weight = view.wrapped("load_balancing_weight")
    compiler = _Locality(region, zone, sub_zone, int(view.scalar("priority")), weight or 0, names)
    return view.each("lb_endpoints", compiler.endpoint)


@dataclass(slots=True)
class _Locality:
    """What the hosts of one locality share."""

    region: str
    zone: str
    sub_zone: str
    priority: int
    weight: int
    names: bool

    def endpoint(self, view: View) -> EndpointConfig:
        """An `LbEndpoint`."""
        if view.oneof("host_identifier") != "endpoint":
            view.fail("endpoint", "is required")
        endpoint = view.need("endpoint")
        weight = view.wrapped("load_balancing_weight")
        health = view.enum("health_status")
        check = endpoint.child("health_check_config")
        return EndpointConfig(
            address=_address(endpoint.need("address"), names=self.names),
            hostname=endpoint.text("hostname"),
            also=() if self.names else endpoint.each("additional_addresses", _additional),
            weight=1 if weight is None else weight,
            healthy=health not in _UNHEALTHY,
            degraded=health == "DEGRADED",
            draining=health == "DRAINING",
            priority=self.priority,
            locality_weight=self.weight,
            check_port=0 if check is None else check.scalar("port_value"),
            check_hostname="" if check is None else check.text("hostname"),
            checked=check is None or not check.scalar("disable_active_health_check"),
            region=self.region,
            zone=self.zone,
            sub_zone=self.sub_zone,
            metadata=compile_metadata(view),
        )


def _additional(view: View) -> AddressConfig:
    return _address(view.need("address"), names=False)


def _address(view: View, *, names: bool) -> AddressConfig:
    address = compile_address(view, internal=not names)
    if not names and not address.pipe and not address.internal:
        check_ip(view.need("socket_address"), address.host, "an IP address; for names use STRICT_DNS or LOGICAL_DNS")
    return address


def check_ip(view: View, host: str, expected: str = "an IP address") -> None:
    """Raises InvalidConfig where a host is not a numeric address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        view.fail("address", f"{host!r} is not an IP address", expected=expected)
