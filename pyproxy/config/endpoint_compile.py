"""Compiles the hosts of a cluster: protobuf -> `config.cluster.EndpointConfig`.

Envoy: envoy.config.endpoint.v3.ClusterLoadAssignment.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

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
    return AssignmentConfig(compile_endpoints(view, names=False), stale or 0.0)


def compile_endpoints(view: View, *, names: bool) -> tuple[EndpointConfig, ...]:
    """A `ClusterLoadAssignment`. With `names` addresses may be names, for DNS.

    There is no failover between priorities yet: the hosts of the first one that has any are used alone, and the
    others are listed as not honoured.
    """
    view.ignore("cluster_name")  # only EDS asks for it
    view.ignore("named_endpoints")  # used by reference only, and references are refused below
    policy = view.child("policy")
    if policy is not None:
        policy.ignore("overprovisioning_factor", "weighted_priority_health", "endpoint_stale_after")
    localities = view.children("endpoints")
    filled = [locality for locality in localities if locality.message.lb_endpoints]  # type: ignore[attr-defined]
    first = min((_priority(locality) for locality in filled), default=0)
    endpoints: list[EndpointConfig] = []
    for locality in localities:
        found = _locality(locality, names=names)
        if _priority(locality) == first:
            locality.ignore("priority")
            endpoints.extend(found)
    return tuple(endpoints)


def _priority(locality: View) -> int:
    priority: int = locality.message.priority  # type: ignore[attr-defined]
    return priority


def _locality(view: View, *, names: bool) -> tuple[EndpointConfig, ...]:
    view.ignore("load_balancing_weight", "proximity")  # asked for by locality-weighted balancing only
    place = view.child("locality")
    region, zone, sub_zone = ("", "", "") if place is None else (place.text(f) for f in ("region", "zone", "sub_zone"))

    compiler = _Locality(region, zone, sub_zone, _priority(view), names)
    return view.each("lb_endpoints", compiler.endpoint)


@dataclass(slots=True)
class _Locality:
    """What the hosts of one locality share."""

    region: str
    zone: str
    sub_zone: str
    priority: int
    names: bool

    def endpoint(self, view: View) -> EndpointConfig:
        """An `LbEndpoint`."""
        if view.oneof("host_identifier") != "endpoint":
            view.fail("endpoint", "is required")
        endpoint = view.need("endpoint")
        weight = view.wrapped("load_balancing_weight")
        return EndpointConfig(
            address=_address(endpoint.need("address"), names=self.names),
            hostname=endpoint.text("hostname"),
            weight=1 if weight is None else weight,
            healthy=view.enum("health_status") not in _UNHEALTHY,
            priority=self.priority,
            region=self.region,
            zone=self.zone,
            sub_zone=self.sub_zone,
            metadata=compile_metadata(view),
        )


def _address(view: View, *, names: bool) -> AddressConfig:
    address = compile_address(view)
    if not names and not address.pipe:
        check_ip(view.need("socket_address"), address.host, "an IP address; for names use STRICT_DNS or LOGICAL_DNS")
    return address


def check_ip(view: View, host: str, expected: str = "an IP address") -> None:
    """Raises InvalidConfig where a host is not a numeric address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        view.fail("address", f"{host!r} is not an IP address", expected=expected)
