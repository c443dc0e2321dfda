from __future__ import annotations

from pyproxy.clusters.discovery.static import StaticDiscovery
from pyproxy.clusters.membership import Member, members_of
from tests.clusters.hosts import endpoint


def test_the_endpoints_are_there_at_once() -> None:
    calls: list[object] = []

    class Cluster:
        def on_members(self, members: tuple[Member, ...]) -> None:
            calls.append(members)

        def on_settled(self) -> None:
            calls.append("settled")

    endpoints = (endpoint(1), endpoint(2))
    discovery = StaticDiscovery(endpoints)
    discovery.start(Cluster())
    discovery.close()
    assert calls == [members_of(endpoints), "settled"]
