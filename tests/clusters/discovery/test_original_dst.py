"""Hosts that requests ask for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from pyproxy.clusters.discovery.original_dst import OriginalDstDiscovery
from pyproxy.clusters.host import Host
from pyproxy.clusters.membership import Member
from pyproxy.config.cluster import ClusterConfig, DiscoveryType, LbPolicy
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo


class Owner:
    """Keeps the hosts of a discovery."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}

    def on_members(self, members: tuple[Member, ...]) -> None:
        self.hosts = {member.key: self.hosts.get(member.key) or Host(*member) for member in members}

    def on_settled(self) -> None:
        pass

    def host(self, key: str) -> Host | None:
        return self.hosts.get(key)


def discovery(**fields: Any) -> tuple[OriginalDstDiscovery, Owner, Any]:
    stats = SimpleNamespace(original_dst_host_invalid=SimpleNamespace(value=0))
    services: Any = SimpleNamespace(loop=asyncio.get_running_loop(), stats=stats)
    config = ClusterConfig("c", DiscoveryType.ORIGINAL_DST, LbPolicy.CLUSTER_PROVIDED, **fields)
    owner, made = Owner(), OriginalDstDiscovery(config, services)
    made.start(owner)
    return made, owner, stats.original_dst_host_invalid


def request(destination: tuple[str, int] | None, **headers: str) -> Request:
    connection = ConnectionInfo()
    connection.original_destination = destination
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request(b"GET", b"/", b"a", Headers(pairs), StreamInfo(0.0, 0.0, connection))


def address(host: Host | None) -> str | None:
    return None if host is None else host.address


async def test_the_host_is_where_the_connection_was_meant_to_go() -> None:
    made, owner, _ = discovery()
    first = made.choose(request(("1.2.3.4", 80)))
    assert address(first) == "1.2.3.4:80"
    assert made.choose(request(("1.2.3.4", 80))) is first
    assert address(made.choose(request(("fd00::1", 80)))) == "[fd00::1]:80"
    assert made.choose(request(None)) is None
    assert len(owner.hosts) == 2
    made.close()


@pytest.mark.parametrize(
    ("said", "chosen"),
    [
        ("5.6.7.8:90", "5.6.7.8:90"),
        ("[::1]:90", "[::1]:90"),
        ("5.6.7.8", None),
        ("5.6.7.8:0", None),
        ("5.6.7.8:65536", None),
        ("5.6.7.8:+1", None),
        ("a.test:80", None),
        ("", None),
    ],
)
async def test_a_header_says_it_where_it_may(said: str, chosen: str | None) -> None:
    made, _, invalid = discovery(original_dst_header=b"x-host")
    assert address(made.choose(request(("1.2.3.4", 80), x_host=said))) == chosen
    assert invalid.value == (chosen is None)
    assert address(made.choose(request(("1.2.3.4", 80)))) == "1.2.3.4:80"
    made.close()
    closed_to_headers, _, _ = discovery(original_dst_port=9)
    assert address(closed_to_headers.choose(request(("1.2.3.4", 80), x_host=said))) == "1.2.3.4:9"
    closed_to_headers.close()


async def test_unused_hosts_go() -> None:
    made, owner, _ = discovery(cleanup_interval=0.3)
    busy, used = made.choose(request(("1.1.1.1", 1))), made.choose(request(("2.2.2.2", 2)))
    made.choose(request(("3.3.3.3", 3)))
    assert busy is not None
    assert used is not None
    busy.cx_active = 1
    while "3.3.3.3:3" in owner.hosts:
        used.rq_total += 1
        await asyncio.sleep(0.01)
    assert sorted(owner.hosts) == ["1.1.1.1:1", "2.2.2.2:2"]
    made.close()
