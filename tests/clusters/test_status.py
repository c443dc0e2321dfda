from __future__ import annotations

import json
from dataclasses import replace

from pyproxy.config.address import AddressConfig
from pyproxy.config.cluster import ClusterConfig, DiscoveryType, EndpointConfig, Thresholds
from tests.clusters.conftest import MakeManager
from tests.clusters.hosts import REQUEST, endpoint

CONFIG = ClusterConfig(
    "a",
    alt_stat_name="seen",
    endpoints=(replace(endpoint(1, weight=3), hostname="h", region="eu", zone="1"), endpoint(2, healthy=False)),
    thresholds=(Thresholds(max_requests=5), Thresholds()),
)


async def test_a_cluster_that_nobody_has_used_looks_like_one_that_is_idle(make_manager: MakeManager) -> None:
    manager = make_manager()
    manager.apply([CONFIG])
    unused = manager.snapshot()
    manager.get("a")
    assert manager.snapshot() == unused
    assert json.loads(json.dumps(unused)) == unused


async def test_what_admin_needs_is_there(make_manager: MakeManager) -> None:
    manager = make_manager(workers=2)
    manager.apply([CONFIG])
    cluster = manager.get("a")
    assert cluster is not None
    host = cluster.choose(REQUEST)
    assert host is not None
    host.cx_active, host.cx_total, host.rq_total, host.rq_error = 1, 2, 9, 3
    (status,) = manager.snapshot()
    assert status["name"] == "a"
    assert status["observability_name"] == "seen"
    assert status["thresholds"]["default"] == {
        "max_connections": 1024,
        "max_pending_requests": 1024,
        "max_requests": 5,
        "max_retries": 3,
    }
    first, second = status["hosts"]
    assert first == {
        "address": "10.0.0.1:80",
        "socket_address": {"address": "10.0.0.1", "port_value": 80},
        "internal": None,
        "pipe": None,
        "hostname": "h",
        "weight": 3,
        "healthy": True,
        "health_flags": "healthy",
        "success_rate": -1.0,
        "local_origin_success_rate": -1.0,
        "priority": 0,
        "region": "eu",
        "zone": "1",
        "sub_zone": "",
        "counters": {
            "cx_connect_fail": 0,
            "cx_total": 2,
            "rq_error": 3,
            "rq_success": 0,
            "rq_timeout": 0,
            "rq_total": 9,
        },
        "gauges": {"cx_active": 1, "rq_active": 0, "rq_pending_active": 0},
    }
    assert second["health_flags"] == "/failed_eds_health"


async def test_pipes_and_names_that_were_not_resolved(make_manager: MakeManager) -> None:
    manager = make_manager()
    manager.apply(
        [
            ClusterConfig("p", endpoints=(EndpointConfig(AddressConfig(pipe="/run/x")),)),
            ClusterConfig("d", DiscoveryType.STRICT_DNS, endpoints=(EndpointConfig(AddressConfig("name", 80)),)),
        ]
    )
    pipe, unresolved = manager.snapshot()
    assert (pipe["hosts"][0]["pipe"], pipe["hosts"][0]["socket_address"]) == ("/run/x", None)
    assert unresolved["hosts"] == []
