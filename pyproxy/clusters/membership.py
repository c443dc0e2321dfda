"""What discovery found, and how it differs from the hosts that a cluster has.

Hosts that stay keep their identity, and with it their connection pool and their counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pyproxy.clusters.host import Host
from pyproxy.config.cluster import EndpointConfig


class Member(NamedTuple):
    """One endpoint with a literal address. `key` says which host it is, also after its address has moved."""

    key: str
    endpoint: EndpointConfig


class Change(NamedTuple):
    """`hosts` is the new membership; `rebalance` tells whether load balancing has to look at it anew."""

    hosts: tuple[Host, ...]
    added: tuple[Host, ...]
    removed: tuple[Host, ...]
    rebalance: bool


def members_of(endpoints: Iterable[EndpointConfig]) -> tuple[Member, ...]:
    """Keys for endpoints whose address is their identity. Envoy keeps an address that is listed twice as two hosts."""
    seen: dict[str, int] = {}
    members = []
    for endpoint in endpoints:
        address = str(endpoint.address)
        times = seen[address] = seen.get(address, 0) + 1
        members.append(Member(address if times == 1 else f"{address}#{times}", endpoint))
    return tuple(members)


def diff(current: Mapping[str, Host], members: Iterable[Member]) -> Change:
    """Hosts that stay adopt what is new about them at once; those that go are not touched."""
    hosts: dict[str, Host] = {}
    added = []
    changed = False
    for key, endpoint in members:
        host = current.get(key)
        if host is None:
            host = Host(key, endpoint)
            added.append(host)
        else:
            changed |= host.adopt(endpoint)
        hosts[key] = host
    removed = tuple(host for key, host in current.items() if key not in hosts)
    return Change(tuple(hosts.values()), tuple(added), removed, changed or bool(added) or bool(removed))
