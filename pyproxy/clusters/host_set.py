"""The hosts of a cluster at one moment: a value that is replaced as a whole, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pyproxy.clusters.host import Host

Locality = tuple[str, str, str]
"""(region, zone, sub_zone)"""


class HostSet:
    """Which hosts there are and which of them may be chosen.

    When fewer than `panic_threshold` percent are healthy, health is not believed any more and all hosts are
    eligible: better to try them than to press everything on the few (Envoy: panic threshold).
    """

    __slots__ = ("degraded", "eligible", "healthy", "hosts", "localities", "panic")

    def __init__(self, hosts: tuple[Host, ...] = (), panic_threshold: float = 50.0) -> None:
        self.hosts = hosts
        self.healthy = tuple(host for host in hosts if host.healthy and not host.degraded)
        self.degraded = tuple(host for host in hosts if host.healthy and host.degraded)
        counted = len(hosts) - sum(host.excluded for host in hosts)
        self.panic = 100.0 * (len(self.healthy) + len(self.degraded)) < panic_threshold * counted
        self.eligible = hosts if self.panic else self.healthy or self.degraded
        self.localities = _by_locality(hosts)

    def __repr__(self) -> str:
        return f"<HostSet {len(self.hosts)} hosts, {len(self.healthy)} healthy{', panic' if self.panic else ''}>"


def _by_locality(hosts: tuple[Host, ...]) -> Mapping[Locality, tuple[Host, ...]]:
    found: dict[Locality, list[Host]] = {}
    for host in hosts:
        found.setdefault(host.locality, []).append(host)
    return MappingProxyType({locality: tuple(members) for locality, members in found.items()})
