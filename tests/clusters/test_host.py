from __future__ import annotations

from pyproxy.clusters.host import Host
from pyproxy.config.address import AddressConfig
from pyproxy.config.cluster import EndpointConfig
from tests.clusters.hosts import Pool, endpoint


def test_the_address_is_shown_as_envoy_shows_it() -> None:
    assert Host("a", endpoint(1)).address == "10.0.0.1:80"
    assert Host("a", EndpointConfig(AddressConfig("::1", 80))).address == "[::1]:80"
    assert Host("a", EndpointConfig(AddressConfig(pipe="/run/x"))).address == "/run/x"


def test_a_retired_host_drains_its_pool() -> None:
    host = Host("a", endpoint(1))
    host.retire()
    assert host.removed
    host = Host("a", endpoint(1))
    host.pool = pool = Pool()
    host.retire()
    assert host.removed
    assert pool.state == "draining"
    host.close()
    assert pool.state == "closed"


def test_repr_tells_the_state() -> None:
    host = Host("a", endpoint(1, healthy=False))
    host.rq_active, host.rq_total = 2, 9
    assert repr(host) == "<Host 10.0.0.1:80 unhealthy, 2 active, 9 requests>"
