from __future__ import annotations

from pyproxy.clusters.cluster import Cluster
from pyproxy.config.cluster import ClusterConfig, LbPolicy, Thresholds
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.http.stream_info import UpstreamInfo
from pyproxy.telemetry.metrics import StatsStore
from tests.clusters.conftest import MakeManager
from tests.clusters.hosts import REQUEST, endpoint, numbers

ENDPOINTS = (endpoint(1), endpoint(2), endpoint(3, healthy=False))


def live(make_manager: MakeManager, config: ClusterConfig, **options: object) -> Cluster:
    manager = make_manager(**options)
    manager.apply([config])
    cluster = manager.get(config.name)
    assert cluster is not None
    return cluster


async def test_healthy_hosts_take_turns(make_manager: MakeManager) -> None:
    cluster = live(make_manager, ClusterConfig("a", endpoints=ENDPOINTS))
    chosen = [cluster.choose(REQUEST) for _ in range(4)]
    assert {host.address for host in chosen if host} == {"10.0.0.1:80", "10.0.0.2:80"}
    assert chosen[:2] == chosen[2:]
    assert repr(cluster) == "<Cluster a <HostSet 3 hosts, 2 healthy>>"


async def test_membership_is_counted(make_manager: MakeManager, store: StatsStore) -> None:
    live(make_manager, ClusterConfig("a", endpoints=ENDPOINTS))
    counted = numbers(store, "cluster.a")
    assert {name: value for name, value in counted.items() if name.startswith("membership")} == {
        "membership_change": 1,
        "membership_total": 3,
        "membership_healthy": 2,
        "membership_degraded": 0,
        "membership_excluded": 0,
    }


async def test_without_hosts_there_is_none_and_it_counts_as_panic(make_manager: MakeManager) -> None:
    cluster = live(make_manager, ClusterConfig("a"))
    assert cluster.choose(REQUEST) is None
    assert cluster.stats.lb_healthy_panic.value == 1


async def test_in_panic_the_ill_are_chosen_and_each_choice_is_counted(make_manager: MakeManager) -> None:
    config = ClusterConfig("a", endpoints=(endpoint(1, healthy=False), endpoint(2, healthy=False), endpoint(3)))
    cluster = live(make_manager, config)
    assert {host.address for host in (cluster.choose(REQUEST) for _ in range(3)) if host} == {
        "10.0.0.1:80",
        "10.0.0.2:80",
        "10.0.0.3:80",
    }
    assert cluster.stats.lb_healthy_panic.value == 3


async def test_the_runtime_may_forbid_panic(make_manager: MakeManager) -> None:
    config = ClusterConfig("a", endpoints=(endpoint(1, healthy=False), endpoint(2, healthy=False), endpoint(3)))
    cluster = live(make_manager, config, runtime={"upstream.healthy_panic_threshold": 0})
    assert {host.address for host in (cluster.choose(REQUEST) for _ in range(3)) if host} == {"10.0.0.3:80"}


async def test_limits_are_for_default_and_high_priority_and_shared_by_workers(make_manager: MakeManager) -> None:
    config = ClusterConfig("a", thresholds=(Thresholds(max_requests=10), Thresholds(max_requests=100)))
    cluster = live(make_manager, config, workers=4, runtime={"circuit_breakers.a.high.max_requests": 8})
    assert [limits.max_requests for limits in cluster.limits] == [3, 2]


async def test_open_breakers_are_seen_after_a_flush(make_manager: MakeManager, store: StatsStore) -> None:
    cluster = live(make_manager, ClusterConfig("a", thresholds=(Thresholds(max_requests=1), Thresholds())))
    cluster.limits[0].try_acquire_request()
    assert numbers(store, "cluster.a")["circuit_breakers.default.rq_open"] == 1


async def test_stats_are_kept_under_the_alternative_name(make_manager: MakeManager, store: StatsStore) -> None:
    live(make_manager, ClusterConfig("a", alt_stat_name="other", endpoints=ENDPOINTS))
    assert numbers(store, "cluster.other")["membership_total"] == 3


async def test_responses_are_counted_by_host_and_status(make_manager: MakeManager, store: StatsStore) -> None:
    cluster = live(make_manager, ClusterConfig("a", endpoints=ENDPOINTS, lb_policy=LbPolicy.RANDOM))
    host = cluster.choose(REQUEST)
    assert host is not None
    info = UpstreamInfo()
    info.request_sent_last, info.response_last = 5.0, 5.25
    cluster.count_response(host, 200, info)
    cluster.count_response(host, 404, UpstreamInfo(), internal=True)
    cluster.count_response(host, 503, UpstreamInfo())
    assert (host.rq_success, host.rq_error) == (2, 1)
    assert {name: value for name, value in numbers(store, "cluster.a").items() if "upstream_rq" in name} == {
        **{f"{origin}upstream_rq_{what}": 1 for origin in ("", "external.") for what in ("200", "2xx", "503", "5xx")},
        **{f"{origin}upstream_rq_{what}": 1 for origin in ("", "internal.") for what in ("404", "4xx")},
        "upstream_rq_completed": 3,
        "external.upstream_rq_completed": 2,
        "internal.upstream_rq_completed": 1,
    }
    assert sum(store.scope("cluster.a").histogram("upstream_rq_time").counts().values()) == 1


async def test_failures_are_counted_as_the_answer_that_they_cause(make_manager: MakeManager, store: StatsStore) -> None:
    cluster = live(make_manager, ClusterConfig("a", endpoints=ENDPOINTS))
    host = cluster.choose(REQUEST)
    assert host is not None
    cluster.count_failure(host, ProxyError(ResponseFlag.UPSTREAM_REQUEST_TIMEOUT, Source.UPSTREAM, 504, "timeout"))
    cluster.count_failure(host, ProxyError(ResponseFlag.UPSTREAM_CONNECTION_FAILURE, Source.UPSTREAM, 503, "refused"))
    cluster.count_failure(None, ProxyError(ResponseFlag.NO_HEALTHY_UPSTREAM, Source.LOCAL, 503, "none"))
    cluster.count_failure(host, ProxyError(ResponseFlag.DOWNSTREAM_CONNECTION_TERMINATION, Source.DOWNSTREAM, 0, "x"))
    counted = numbers(store, "cluster.a")
    assert (host.rq_error, host.rq_timeout) == (2, 1)
    assert counted["upstream_rq_timeout"] == 1
    assert counted["upstream_rq_504"] == 1
    assert counted["external.upstream_rq_503"] == 2
