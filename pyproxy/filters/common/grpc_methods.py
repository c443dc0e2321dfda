"""Where gRPC calls are counted: below the cluster that they go to, by service and method where that is wanted.

Names of methods are made up by whoever sends requests, so of each cluster only so many are kept.
"""

from __future__ import annotations

from typing import Final

from pyproxy.clusters.manager import ClusterManager
from pyproxy.http.message import Request
from pyproxy.telemetry.grpc_method_stats import GrpcMethodStats
from pyproxy.telemetry.metrics import Scope

MOST_METHODS: Final = 5000

Method = tuple[bytes, bytes]


class CountedMethods:
    """The stats of calls by one filter. `listed` are (service, method) counted by name; None for all there are."""

    __slots__ = ("_by_cluster", "_clusters", "_listed", "_most", "_protocol", "_replace_dots")

    def __init__(
        self,
        clusters: ClusterManager,
        protocol: str,
        listed: frozenset[Method] | None = None,
        *,
        replace_dots: bool = False,
        most: int = MOST_METHODS,
    ) -> None:
        """`protocol` as the names of stats have it. Beyond `most` methods of a cluster calls count without a name."""
        self._clusters = clusters
        self._protocol = protocol
        self._listed = listed
        self._replace_dots = replace_dots
        self._most = most
        self._by_cluster: dict[str, _OfCluster] = {}

    def of(self, request: Request) -> GrpcMethodStats | None:
        """None where a call goes to no cluster, or does not say which method it calls."""
        route = request.route
        if route is None or route.answer is not None:
            return None
        name: str = route.resolve(request).cluster
        cluster = self._clusters.get(name)
        called = method_called(request.path)
        if cluster is None or called is None:
            return None
        scope = cluster.stats.scope
        methods = self._by_cluster.get(name)
        if methods is None or methods.scope is not scope:
            methods = self._by_cluster[name] = _OfCluster(scope, self._protocol)
        if self._listed is not None and called not in self._listed:
            return methods.nameless
        found = methods.by_method.get(called)
        if found is not None:
            return found
        return methods.nameless if len(methods.by_method) >= self._most else methods.add(called, self._replace_dots)


class _OfCluster:
    __slots__ = ("_protocol", "by_method", "nameless", "scope")

    def __init__(self, scope: Scope, protocol: str) -> None:
        self.scope = scope
        self._protocol = protocol
        self.nameless = GrpcMethodStats(scope, f"{protocol}.")
        self.by_method: dict[Method, GrpcMethodStats] = {}

    def add(self, called: Method, replace_dots: bool) -> GrpcMethodStats:
        # A colon would end the name in the text form of /stats.
        service, method = [part.decode("utf-8", "replace").replace(":", "_") for part in called]
        if replace_dots:
            service = service.replace(".", "_")
        made = self.by_method[called] = GrpcMethodStats(self.scope, f"{self._protocol}.{service}.{method}.")
        return made


def method_called(path: bytes) -> Method | None:
    """(service, method) of a path; None for one that has not exactly these."""
    parts = [part for part in path.partition(b"?")[0].split(b"/") if part]
    return (parts[0], parts[1]) if len(parts) == 2 else None
