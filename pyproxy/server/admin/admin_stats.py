"""What Envoy counts of its own admin: `http.admin.` and `listener.admin.`, as of any other listener."""

from __future__ import annotations

from pyproxy import clock
from pyproxy.telemetry.listener_stats import HcmStats, ListenerStats
from pyproxy.telemetry.metrics import StatsStore


class AdminStats:
    """Connections and requests of the admin. Its bytes are not counted: aiohttp does not tell them."""

    def __init__(self, store: StatsStore) -> None:
        self._listener = ListenerStats(store, "admin")
        self._http = HcmStats(store, "admin", self._listener)
        own = self._listener.scope
        self._thread_total = own.counter("main_thread.downstream_cx_total")
        self._thread_active = own.gauge("main_thread.downstream_cx_active")

    def opened(self) -> None:
        """A connection was accepted."""
        http, listener = self._http, self._listener
        for total in (http.downstream_cx_total, listener.downstream_cx_total, self._thread_total):
            total.value += 1
        for active in (http.downstream_cx_active, listener.downstream_cx_active, self._thread_active):
            active.value += 1
        http.downstream_cx_http1_total.value += 1
        http.downstream_cx_http1_active.value += 1
        listener.connections_accepted_per_socket_event.record(1)

    def closed(self, opened: float) -> None:
        """One that was accepted at `opened` is over."""
        http, listener = self._http, self._listener
        for active in (http.downstream_cx_active, listener.downstream_cx_active, self._thread_active):
            active.value -= 1
        http.downstream_cx_http1_active.value -= 1
        for gone in (http.downstream_cx_destroy, http.downstream_cx_destroy_remote, listener.downstream_cx_destroy):
            gone.value += 1
        lasted = _milliseconds(opened)
        http.downstream_cx_length_ms.record(lasted)
        listener.downstream_cx_length_ms.record(lasted)

    def begun(self) -> None:
        """A request came."""
        http = self._http
        http.downstream_rq_total.value += 1
        http.downstream_rq_http1_total.value += 1
        http.downstream_rq_active.value += 1

    def ended(self, status: int, begun: float) -> None:
        """It was answered, or its client has gone."""
        http = self._http
        http.downstream_rq_active.value -= 1
        http.responses[status].value += 1
        http.downstream_rq_time.record(_milliseconds(begun))


def _milliseconds(since: float) -> int:
    return max(0, int((clock.monotonic() - since) * 1000))
