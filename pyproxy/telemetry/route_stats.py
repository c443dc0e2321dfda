"""What Envoy counts of virtual clusters and of routes with a `stat_prefix`: the requests that were sent upstream."""

from __future__ import annotations

from typing import Final

from pyproxy.errors import ProxyError, ResponseFlag
from pyproxy.http.stream_info import UpstreamInfo
from pyproxy.telemetry.metrics import Counter, Histogram, StatsStore
from pyproxy.telemetry.stat_blocks import ResponseCodes, StatsBlock

_OTHER: Final = "other"
"""The virtual cluster of requests that belong to none (Envoy)."""


class UpstreamRequestStats(StatsBlock):
    """`vhost.<name>.vcluster.<name>.` and `vhost.<name>.route.<stat prefix>.`: requests that a route sent upstream."""

    PREFIX = "vhost"

    upstream_rq_retry: Counter
    upstream_rq_retry_limit_exceeded: Counter
    upstream_rq_retry_overflow: Counter
    upstream_rq_retry_success: Counter
    upstream_rq_timeout: Counter
    upstream_rq_total: Counter
    upstream_rq_time: Histogram

    def __init__(self, store: StatsStore, name: str) -> None:
        super().__init__(store, name)
        self.codes = ResponseCodes(self.scope, ("",))

    def count_response(self, status: int, info: UpstreamInfo) -> None:
        """A response is over; see `Cluster.count_response`."""
        self.codes[status].value += 1
        if info.response_last and info.request_sent_last:
            self.upstream_rq_time.record(max(0, int((info.response_last - info.request_sent_last) * 1000)))

    def count_failure(self, error: ProxyError) -> None:
        """There was no response: what the downstream is told counts as one."""
        if error.flag is ResponseFlag.UPSTREAM_MAX_STREAM_DURATION_REACHED:
            return
        if error.status:
            self.codes[error.status].value += 1
        if error.flag is ResponseFlag.UPSTREAM_REQUEST_TIMEOUT and not error.details.startswith("upstream_per_try"):
            self.upstream_rq_timeout.value += 1

    @staticmethod
    def of_virtual_cluster(store: StatsStore, virtual_host: str, virtual_cluster: str) -> UpstreamRequestStats:
        return UpstreamRequestStats(store, f"{virtual_host}.vcluster.{virtual_cluster}")

    @staticmethod
    def of_route(store: StatsStore, virtual_host: str, stat_prefix: str) -> UpstreamRequestStats:
        return UpstreamRequestStats(store, f"{virtual_host}.route.{stat_prefix}")


class RouteStats:
    """Finds the blocks that count a request. Each is made when a request first needs it."""

    def __init__(self, store: StatsStore) -> None:
        self._store = store
        self._found: dict[tuple[str, str | None, str], tuple[UpstreamRequestStats, ...]] = {}

    def of(self, virtual_host: str, virtual_cluster: str | None, stat_prefix: str) -> tuple[UpstreamRequestStats, ...]:
        """`virtual_cluster` is None where the virtual host has none, and empty where none fits."""
        key = (virtual_host, virtual_cluster, stat_prefix)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = tuple(self._make(*key))
        return found

    def _make(self, virtual_host: str, virtual_cluster: str | None, stat_prefix: str) -> list[UpstreamRequestStats]:
        made = []
        if virtual_cluster is not None:
            name = virtual_cluster or _OTHER
            made.append(UpstreamRequestStats.of_virtual_cluster(self._store, virtual_host, name))
        if stat_prefix:
            made.append(UpstreamRequestStats.of_route(self._store, virtual_host, stat_prefix))
        return made
