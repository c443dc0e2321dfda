"""Blocks of stats as their owners use them, and what an operator then sees."""

from __future__ import annotations

import pytest

from pyproxy.telemetry.cluster_stats import ClusterStats
from pyproxy.telemetry.listener_stats import HcmStats, ListenerStats, stat_address
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.route_stats import UpstreamRequestStats
from pyproxy.telemetry.server_stats import FilesystemStats, RuntimeStats, ServerStats, WatchdogStats
from pyproxy.telemetry.shared_reader import StatsReader, StatsSnapshot
from pyproxy.telemetry.shared_stats import StatsArea


class Shown:
    """A store and what is shown of it."""

    def __init__(self) -> None:
        area = StatsArea("blocks", 1024 * 1024)
        self.store = StatsStore(area)
        self._reader = StatsReader((area,))

    def now(self, *, unused: bool = False) -> StatsSnapshot:
        self.store.flush()
        return self._reader.snapshot(unused=unused)


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_a_cluster_that_nobody_used_shows_zeros_and_holds_no_stats(shown: Shown) -> None:
    stats = ClusterStats(shown.store, "blue:80")
    assert stats.scope.stats == {}
    snapshot = shown.now(unused=True)
    assert snapshot.counters["cluster.blue_80.upstream_rq_total"] == 0
    assert snapshot.gauges["cluster.blue_80.circuit_breakers.high.cx_pool_open"] == 0
    assert snapshot.histograms["cluster.blue_80.upstream_cx_connect_ms"] == {}
    assert "cluster.blue_80.upstream_rq_time" not in snapshot.histograms
    assert shown.now().counters == {}


def test_an_unknown_stat_is_a_mistake(shown: Shown) -> None:
    with pytest.raises(AttributeError, match="ClusterStats has no stat 'upstream_rq_totl'"):
        ClusterStats(shown.store, "a").upstream_rq_totl  # type: ignore[attr-defined]  # noqa: B018


def test_one_response_is_many_counters(shown: Shown) -> None:
    stats = ClusterStats(shown.store, "a")
    for _ in range(3):
        stats.external.codes[200].value += 1
        stats.external.upstream_rq_time.record(7)
    stats.internal.codes[503].value += 1
    stats.internal.upstream_rq_time.record(250)
    stats.internal.codes[999].value += 1
    snapshot = shown.now()
    assert snapshot.counters == {
        "cluster.a.external.upstream_rq_200": 3,
        "cluster.a.external.upstream_rq_2xx": 3,
        "cluster.a.external.upstream_rq_completed": 3,
        "cluster.a.internal.upstream_rq_503": 1,
        "cluster.a.internal.upstream_rq_5xx": 1,
        "cluster.a.internal.upstream_rq_unknown": 1,
        "cluster.a.internal.upstream_rq_completed": 2,
        "cluster.a.upstream_rq_200": 3,
        "cluster.a.upstream_rq_2xx": 3,
        "cluster.a.upstream_rq_503": 1,
        "cluster.a.upstream_rq_5xx": 1,
        "cluster.a.upstream_rq_unknown": 1,
        "cluster.a.upstream_rq_completed": 5,
    }
    assert snapshot.histograms == {
        "cluster.a.external.upstream_rq_time": {7: 3},
        "cluster.a.internal.upstream_rq_time": {115: 1},
        "cluster.a.upstream_rq_time": {7: 3, 115: 1},
    }


def test_circuit_breakers(shown: Shown) -> None:
    stats = ClusterStats(shown.store, "a")
    stats.each_flush(lambda: setattr(stats.circuit_breakers_default.rq_open, "value", 1))
    stats.circuit_breakers_high.remaining_rq.value = 5
    assert shown.now().gauges == {
        "cluster.a.circuit_breakers.default.rq_open": 1,
        "cluster.a.circuit_breakers.high.remaining_rq": 5,
    }


def test_a_removed_cluster_is_not_shown_and_a_new_one_begins_at_zero(shown: Shown) -> None:
    calls: list[int] = []
    stats = ClusterStats(shown.store, "a")
    stats.upstream_rq_total.value += 9
    stats.each_flush(lambda: calls.append(1))
    other = ClusterStats(shown.store, "a.b")
    other.upstream_rq_total.value += 1
    shown.now()
    stats.close()
    assert shown.now(unused=True).counters.keys() == {f"cluster.a.b.{name}" for name in _counters(other)}
    stats.upstream_rq_total.value += 1
    ClusterStats(shown.store, "a").upstream_rq_total.value += 2
    assert shown.now().counters == {"cluster.a.upstream_rq_total": 2, "cluster.a.b.upstream_rq_total": 1}
    assert calls == [1]


def test_a_cluster_that_is_replaced_before_the_old_one_ends_counts_on(shown: Shown) -> None:
    old = ClusterStats(shown.store, "a")
    old.upstream_rq_total.value += 3
    new = ClusterStats(shown.store, "a")
    new.upstream_rq_total.value += 1
    old.close()
    assert shown.now().counters == {"cluster.a.upstream_rq_total": 4}
    new.close()
    assert shown.now().counters == {}


def test_a_listener_shows_this_workers_share(shown: Shown) -> None:
    stats = ListenerStats(shown.store, stat_address("127.0.0.1", 80), worker=3)
    snapshot = shown.now(unused=True)
    assert snapshot.counters["listener.127.0.0.1_80.worker_3.downstream_cx_total"] == 0
    stats.downstream_cx_total.value += 4
    stats.downstream_cx_active.value += 1
    snapshot = shown.now()
    assert snapshot.counters == {
        "listener.127.0.0.1_80.downstream_cx_total": 4,
        "listener.127.0.0.1_80.worker_3.downstream_cx_total": 4,
    }
    assert snapshot.gauges == {
        "listener.127.0.0.1_80.downstream_cx_active": 1,
        "listener.127.0.0.1_80.worker_3.downstream_cx_active": 1,
    }


def test_two_connection_managers_with_one_prefix_are_one_in_http_and_two_in_listener(shown: Shown) -> None:
    first, second = ListenerStats(shown.store, "one"), ListenerStats(shown.store, "two")
    managers = [HcmStats(shown.store, "in", listener) for listener in (first, second)]
    for manager in managers:
        manager.responses[200].value += 1
        manager.responses[204].value += 1
        manager.downstream_rq_total.value += 2
    assert shown.now().counters == {
        "http.in.downstream_rq_2xx": 4,
        "http.in.downstream_rq_completed": 4,
        "http.in.downstream_rq_total": 4,
        "listener.one.http.in.downstream_rq_2xx": 2,
        "listener.one.http.in.downstream_rq_completed": 2,
        "listener.two.http.in.downstream_rq_2xx": 2,
        "listener.two.http.in.downstream_rq_completed": 2,
    }
    managers[0].responses[200].value += 1
    managers[0].close()
    first.close()
    assert shown.now().counters == {
        "http.in.downstream_rq_2xx": 5,
        "http.in.downstream_rq_completed": 5,
        "http.in.downstream_rq_total": 4,
        "listener.two.http.in.downstream_rq_2xx": 2,
        "listener.two.http.in.downstream_rq_completed": 2,
    }


def test_a_connection_manager_alone(shown: Shown) -> None:
    manager = HcmStats(shown.store, "in")
    manager.responses[404].value += 1
    manager.responses[999].value += 1
    assert shown.now().counters == {"http.in.downstream_rq_4xx": 1, "http.in.downstream_rq_completed": 2}


def test_virtual_clusters_and_routes(shown: Shown) -> None:
    UpstreamRequestStats.of_virtual_cluster(shown.store, "vh", "vc").codes[200].value += 1
    UpstreamRequestStats.of_route(shown.store, "vh", "all").upstream_rq_total.value += 1
    assert shown.now().counters == {
        "vhost.vh.route.all.upstream_rq_total": 1,
        "vhost.vh.vcluster.vc.upstream_rq_200": 1,
        "vhost.vh.vcluster.vc.upstream_rq_2xx": 1,
        "vhost.vh.vcluster.vc.upstream_rq_completed": 1,
    }


def test_blocks_of_the_process(shown: Shown) -> None:
    ServerStats(shown.store).uptime.value = 5
    WatchdogStats(shown.store, "worker_1").watchdog_miss.value += 1
    RuntimeStats(shown.store).num_keys.value = 2
    FilesystemStats(shown.store).write_completed.value += 1
    snapshot = shown.now()
    assert snapshot.gauges == {"server.uptime": 5, "runtime.num_keys": 2}
    assert snapshot.counters == {"server.worker_1.watchdog_miss": 1, "filesystem.write_completed": 1}


@pytest.mark.parametrize(
    ("host", "name"), [("127.0.0.1", "127.0.0.1_80"), ("::1", "[__1]_80"), ("fe80::1", "[fe80__1]_80")]
)
def test_addresses_in_names(host: str, name: str) -> None:
    assert stat_address(host, 80) == name


def _counters(block: ClusterStats) -> list[str]:
    return [line.split()[1] for line in block.table.splitlines() if line.split()[0] in ("3", "5")]
