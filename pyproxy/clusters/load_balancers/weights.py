"""What consistent hashing needs to know of hosts: the shares that they weigh, and the texts that they are hashed by."""

from __future__ import annotations

from typing import NamedTuple

from pyproxy.clusters.host import Host


class Share(NamedTuple):
    """`weight` is of all hosts together, which weigh 1."""

    host: Host
    weight: float


def shares_of(hosts: tuple[Host, ...]) -> list[Share]:
    total = sum(host.weight for host in hosts)
    return [Share(host, host.weight / total) for host in hosts]


def shares_by_locality(hosts: tuple[Host, ...], localities: dict[tuple[str, str, str], float]) -> list[Share]:
    """A host's share of its locality, times the locality's share of all (`localities` gives effective weights)."""
    total = sum(localities.values())
    within: dict[tuple[str, str, str], int] = {}
    for host in hosts:
        within[host.locality] = within.get(host.locality, 0) + host.weight
    return [
        Share(host, localities[host.locality] / total * host.weight / within[host.locality])
        for host in hosts
        if localities.get(host.locality)
    ]


def hash_key(host: Host, *, by_hostname: bool) -> str:
    """Envoy: metadata `envoy.lb`/`hash_key` goes first."""
    said = host.metadata.get("envoy.lb", {}).get("hash_key")
    if isinstance(said, str) and said:
        return said
    return (host.hostname if by_hostname else "") or host.address
