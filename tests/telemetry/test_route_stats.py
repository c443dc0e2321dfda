"""Virtual clusters and routes with statistics of their own."""

from __future__ import annotations

from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.http.stream_info import UpstreamInfo
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.route_stats import RouteStats


def test_a_request_may_be_counted_twice() -> None:
    counted = RouteStats(StatsStore()).of("all", "slow", "checkout")
    assert [one.scope.prefix for one in counted] == ["vhost.all.vcluster.slow", "vhost.all.route.checkout"]


def test_who_fits_nowhere_is_other() -> None:
    stats = RouteStats(StatsStore())
    assert [one.scope.prefix for one in stats.of("all", "", "")] == ["vhost.all.vcluster.other"]
    assert stats.of("all", None, "") == ()


def test_the_same_block_is_found_again() -> None:
    stats = RouteStats(StatsStore())
    assert stats.of("all", None, "a") is stats.of("all", None, "a")


def test_what_is_counted() -> None:
    (one,) = RouteStats(StatsStore()).of("all", None, "a")
    info = UpstreamInfo()
    info.request_sent_last, info.response_last = 1.0, 1.25
    one.count_response(200, info)
    timeout = ResponseFlag.UPSTREAM_REQUEST_TIMEOUT
    one.count_failure(ProxyError(timeout, Source.UPSTREAM, 504, "response_timeout"))
    one.count_failure(ProxyError(timeout, Source.UPSTREAM, 504, "upstream_per_try_timeout"))
    one.count_failure(ProxyError(ResponseFlag.UPSTREAM_MAX_STREAM_DURATION_REACHED, Source.UPSTREAM, 504, "x"))
    one.store.flush()
    assert one.scope.counter("upstream_rq_200").value == 1
    assert one.scope.counter("upstream_rq_504").value == 2
    assert one.upstream_rq_timeout.value == 1
    assert sum(one.upstream_rq_time.counts().values()) == 1
