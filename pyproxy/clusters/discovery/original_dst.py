"""ORIGINAL_DST: the host is where the downstream wanted to go before it was redirected, or what a header says.

Envoy: Original destination (service discovery), envoy.config.cluster.v3.Cluster.OriginalDstLbConfig. Security posture:
with `use_http_header` whoever can set the header chooses the host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from pyproxy.clusters.discovery.discovery import Discovering, DiscoveryServices
from pyproxy.clusters.host import Host
from pyproxy.clusters.membership import Member
from pyproxy.config.address import AddressConfig
from pyproxy.config.cluster import ClusterConfig, EndpointConfig
from pyproxy.http.message import Request
from pyproxy.tasks import call_every


class OriginalDstDiscovery:
    """Has no hosts to begin with: `choose` makes those that are asked for, and the unused go again."""

    def __init__(self, config: ClusterConfig, services: DiscoveryServices) -> None:
        self._header = config.original_dst_header
        self._port = config.original_dst_port
        self._interval = config.cleanup_interval
        self._loop = services.loop
        self._invalid = services.stats.original_dst_host_invalid
        self._cluster: Discovering | None = None
        self._members: dict[str, Member] = {}
        self._seen: dict[str, int] = {}
        self._stop: Callable[[], None] | None = None

    def start(self, cluster: Discovering) -> None:
        self._cluster = cluster
        cluster.on_members(())
        cluster.on_settled()
        self._stop = call_every(self._loop, self._interval, self._clean)

    def close(self) -> None:
        if self._stop is not None:
            self._stop()

    def choose(self, request: Request) -> Host | None:
        """The host of one request or connection; None where nobody said where it was meant to go."""
        assert self._cluster is not None
        found = self._wanted(request)
        if found is None:
            return None
        host, port = found
        address = AddressConfig(host, self._port or port)
        key = str(address)
        if key not in self._members:
            self._members[key] = Member(key, EndpointConfig(address))
            self._cluster.on_members(tuple(self._members.values()))
        return self._cluster.host(key)

    def _wanted(self, request: Request) -> tuple[str, int] | None:
        if self._header:
            said = request.headers.get(self._header)
            if said is not None:
                found = _address(said)
                if found is None:
                    self._invalid.value += 1
                return found
        return request.info.connection.original_destination

    def _clean(self) -> None:
        """A host goes when it was not used for a whole interval and no connection to it is open."""
        assert self._cluster is not None
        kept: dict[str, Member] = {}
        seen: dict[str, int] = {}
        for key, member in self._members.items():
            host = self._cluster.host(key)
            if host is not None and (host.cx_active or host.rq_active or self._seen.get(key) != host.rq_total):
                kept[key] = member
                seen[key] = host.rq_total
        gone = len(kept) < len(self._members)
        self._members, self._seen = kept, seen
        if gone:
            self._cluster.on_members(tuple(kept.values()))


def _address(said: bytes) -> tuple[str, int] | None:
    """`1.2.3.4:80` or `[::1]:80`."""
    host, _, port = said.decode("latin-1").rpartition(":")
    if not port.isascii() or not port.isdecimal() or len(port) > 5 or not 0 < int(port) < 65536:
        return None
    try:
        return str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))), int(port)
    except ValueError:
        return None
