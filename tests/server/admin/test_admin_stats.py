"""What the admin counts of itself."""

from __future__ import annotations

from pyproxy import clock
from pyproxy.server.admin.admin_stats import AdminStats
from pyproxy.telemetry.metrics import StatsStore


def test_connections_and_requests() -> None:
    store = StatsStore()
    stats, now = AdminStats(store), clock.monotonic()
    stats.opened()
    stats.opened()
    stats.begun()
    stats.ended(200, now)
    stats.begun()
    stats.closed(now)
    store.flush()
    values = {
        name: store.counter(name).value
        for name in (
            "http.admin.downstream_cx_total",
            "http.admin.downstream_cx_destroy_remote",
            "http.admin.downstream_rq_total",
            "http.admin.downstream_rq_2xx",
            "listener.admin.downstream_cx_total",
            "listener.admin.main_thread.downstream_cx_total",
            "listener.admin.http.admin.downstream_rq_2xx",
        )
    }
    assert list(values.values()) == [2, 1, 2, 1, 2, 2, 1], values
    active = (
        "http.admin.downstream_cx_active",
        "http.admin.downstream_rq_active",
        "listener.admin.downstream_cx_active",
    )
    assert [store.gauge(name).value for name in active] == [1, 1, 1]
