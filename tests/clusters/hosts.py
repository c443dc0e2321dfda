"""Hosts and requests for tests of the clusters room."""

from __future__ import annotations

from collections.abc import Iterable

from pyproxy.clusters.host import Host
from pyproxy.clusters.membership import members_of
from pyproxy.config.address import AddressConfig
from pyproxy.config.cluster import EndpointConfig
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.stat import Stat


class Pool:
    """Stands for the connections to a host."""

    def __init__(self) -> None:
        self.state = "open"

    def drain(self) -> None:
        self.state = "draining"

    def close(self) -> None:
        self.state = "closed"


REQUEST = Request(b"GET", b"/", b"a", Headers(), StreamInfo(0.0, 0.0, ConnectionInfo()))


def endpoint(number: int, weight: int = 1, *, healthy: bool = True) -> EndpointConfig:
    address = AddressConfig(host=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", port=80)
    return EndpointConfig(address=address, weight=weight, healthy=healthy)


def hosts(weights: Iterable[int]) -> tuple[Host, ...]:
    endpoints = [endpoint(number, weight) for number, weight in enumerate(weights)]
    return tuple(Host(member.key, member.endpoint) for member in members_of(endpoints))


def numbers(store: StatsStore, prefix: str) -> dict[str, int]:
    """The counters and gauges below a prefix, as a flush publishes them."""
    store.flush()
    return {name: stat.value for name, stat in store.scope(prefix).stats.items() if isinstance(stat, Stat)}
