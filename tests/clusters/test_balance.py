from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from pyproxy.clusters.balance import Balance
from pyproxy.clusters.host import HealthFlag, Host
from pyproxy.config.cluster import ClusterConfig, EndpointConfig, LbPolicy
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.telemetry.metrics import Counter as Count
from tests.clusters.hosts import REQUEST, endpoint


def host(number: int, **fields: object) -> Host:
    return Host(str(number), replace(endpoint(number), **fields))  # type: ignore[arg-type]


def balance(*hosts: Host, threshold: float = 50.0, **fields: object) -> tuple[Balance, Count]:
    panics = Count("panics")
    config = ClusterConfig("c", **fields)  # type: ignore[arg-type]
    return Balance(config, hosts, threshold, random.Random(1), panics), panics


def shares(made: Balance, count: int = 2000) -> dict[str, int]:
    """Percent of the choices."""
    chosen = Counter(found.key if (found := made.choose(REQUEST)) else "" for _ in range(count))
    return {key: round(100 * times / count) for key, times in chosen.items()}


def test_a_priority_that_is_half_ill_keeps_what_it_can_take() -> None:
    hosts = [host(n, priority=n // 2) for n in range(4)]
    hosts[0].mark(HealthFlag.FAILED_ACTIVE_HC, on=True)
    made, _ = balance(*hosts)
    found = shares(made)
    assert abs(found["1"] - 70) <= 3
    assert abs(found["2"] + found["3"] - 30) <= 3


def test_degraded_hosts_take_the_rest() -> None:
    made, _ = balance(host(0), host(1, degraded=True))
    assert abs(shares(made)["0"] - 70) <= 3


def test_in_panic_all_hosts_are_tried_unless_nobody_shall_be() -> None:
    hosts = [host(n, healthy=n == 0) for n in range(5)]
    made, panics = balance(*hosts)
    assert len(shares(made)) == 5
    assert panics.value == 2000
    made, panics = balance(*hosts, fail_on_panic=True)
    assert shares(made) == {"": 100}
    assert panics.value == 2000


def test_localities_weigh_by_their_health() -> None:
    near = [host(n, region="near", locality_weight=1) for n in range(2)]
    far = [host(n, region="far", locality_weight=1) for n in range(2, 4)]
    near[0].mark(HealthFlag.FAILED_OUTLIER_CHECK, on=True)
    made, _ = balance(*near, *far, locality_weighted=True)
    found = shares(made)
    assert abs(found["1"] - 100 * 0.7 / 1.7) <= 4  # half of it is well, times the overprovisioning of 1.4


def test_a_retry_leaves_a_priority() -> None:
    made, _ = balance(host(0), host(1, priority=1))
    assert shares(made) == {"0": 100}
    found = made.without(frozenset({0}))(REQUEST)
    assert found is not None
    assert found.key == "1"


def test_the_same_hash_finds_the_same_priority() -> None:
    hosts = [host(n, priority=n // 2) for n in range(4)]
    hosts[0].mark(HealthFlag.FAILED_ACTIVE_HC, on=True)
    made, _ = balance(*hosts, lb_policy=LbPolicy.MAGLEV)
    for number in range(20):
        info = StreamInfo(0.0, 0.0, ConnectionInfo())
        info.hash = number * 977
        request = Request(b"GET", b"/", b"a", Headers(), info)
        assert len({made.choose(request) for _ in range(5)}) == 1


def test_marks_are_told_in_envoys_words() -> None:
    one = Host("a", EndpointConfig(endpoint(1).address, degraded=True))
    assert one.mark(HealthFlag.FAILED_OUTLIER_CHECK, on=True)
    assert not one.mark(HealthFlag.FAILED_ACTIVE_HC, on=True)  # it was out already
    assert HealthFlag(one.flags).words == "/failed_active_hc/failed_outlier_check/degraded_eds_health"
