"""What a route has from the levels above it: its virtual host and its table. Built once a virtual host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from pyproxy.config.headers import HeaderChanges
from pyproxy.config.retry import RetryPolicyConfig
from pyproxy.config.route import FilterOverride, RouteTableConfig, VirtualClusterConfig, VirtualHostConfig
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.http.message import Request
from pyproxy.http.predicates import RequestPredicate, all_of, build_header_predicate
from pyproxy.routes.header_changes import (
    Change,
    RequestChange,
    ResponseChange,
    build_request_change,
    build_response_change,
    for_requests,
    for_responses,
)
from pyproxy.routes.retry import RetryPolicy, build_retry


class TableContext:
    """What all virtual hosts of a table share."""

    __slots__ = ("cluster_exists", "config", "request_change", "response_change", "rng", "tell_originals", "values")

    def __init__(
        self,
        config: RouteTableConfig,
        values: RuntimeValues,
        rng: Random,
        cluster_exists: Callable[[str], bool],
        *,
        tell_originals: bool,
    ) -> None:
        self.config = config
        self.values = values
        self.rng = rng
        self.cluster_exists = cluster_exists
        self.tell_originals = tell_originals
        """Rewrites leave the old path and host in x-envoy-original-path and x-envoy-original-host."""
        self.request_change = build_request_change(config.headers)
        self.response_change = build_response_change(config.headers)

    def bare(self) -> TableContext:
        """The same without anything that its configuration does to messages."""
        return TableContext(
            RouteTableConfig(), self.values, self.rng, self.cluster_exists, tell_originals=self.tell_originals
        )


class Levels:
    """One virtual host, and its table above it."""

    __slots__ = (
        "_request_change",
        "_response_change",
        "_retries",
        "filter_configs",
        "table",
        "virtual_cluster",
        "virtual_host",
    )

    def __init__(self, virtual_host: VirtualHostConfig, table: TableContext) -> None:
        self.virtual_host = virtual_host
        self.table = table
        self._retries: dict[RetryPolicyConfig, RetryPolicy] = {}
        self.filter_configs: Mapping[str, FilterOverride] = {
            **table.config.filter_configs,
            **virtual_host.filter_configs,
        }
        self.virtual_cluster = _virtual_cluster(virtual_host.virtual_clusters)
        self._request_change = build_request_change(virtual_host.headers)
        self._response_change = build_response_change(virtual_host.headers)

    def retry(self, config: RetryPolicyConfig) -> RetryPolicy:
        """The live policy; routes that say the same share it."""
        found = self._retries.get(config)
        if found is None:
            found = self._retries[config] = build_retry(config)
        return found

    def request_change(self, route: HeaderChanges, cluster: HeaderChanges | None = None) -> RequestChange | None:
        """What all levels do to a request. A weighted cluster always comes first."""
        own = build_request_change(route)
        first = None if cluster is None else build_request_change(cluster)
        return for_requests([first, *self._ordered(own, self._request_change, self.table.request_change)])

    def response_change(self, route: HeaderChanges, cluster: HeaderChanges | None = None) -> ResponseChange | None:
        own = build_response_change(route)
        first = None if cluster is None else build_response_change(cluster)
        return for_responses([first, *self._ordered(own, self._response_change, self.table.response_change)])

    def _ordered(self, *levels: Change | None) -> tuple[Change | None, ...]:
        # The last one has the last word.
        return levels[::-1] if self.table.config.most_specific_headers_win else levels


def _virtual_cluster(configs: tuple[VirtualClusterConfig, ...]) -> Callable[[Request], str] | None:
    if not configs:
        return None
    built: list[tuple[str, RequestPredicate | None]] = [
        (config.name, all_of(build_header_predicate(match) for match in config.headers)) for config in configs
    ]

    def first_that_fits(request: Request) -> str:
        for name, fits in built:
            if fits is None or fits(request):
                return name
        return ""

    return first_that_fits
