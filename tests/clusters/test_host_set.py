from __future__ import annotations

from dataclasses import replace

import pytest

from pyproxy.clusters.host import Host
from pyproxy.clusters.host_set import HostSet
from tests.clusters.hosts import endpoint


def members(healthy: int, ill: int) -> tuple[Host, ...]:
    return tuple(Host(str(n), endpoint(n, healthy=n < healthy)) for n in range(healthy + ill))


@pytest.mark.parametrize(
    ("healthy", "ill", "eligible", "panic"),
    [(0, 0, 0, False), (3, 0, 3, False), (2, 1, 2, False), (1, 1, 1, False), (1, 2, 3, True), (0, 2, 2, True)],
)
def test_only_the_healthy_are_eligible_unless_most_are_ill(healthy: int, ill: int, eligible: int, panic: bool) -> None:
    host_set = HostSet(members(healthy, ill))
    assert len(host_set.eligible) == eligible
    assert host_set.panic is panic


def test_a_threshold_of_zero_means_no_panic() -> None:
    host_set = HostSet(members(0, 3), panic_threshold=0)
    assert host_set.eligible == ()


def test_hosts_are_recorded_by_locality() -> None:
    near = Host("a", replace(endpoint(1), region="eu", zone="1"))
    far = Host("b", replace(endpoint(2), region="us"))
    assert HostSet((near, far)).localities == {("eu", "1", ""): (near,), ("us", "", ""): (far,)}
