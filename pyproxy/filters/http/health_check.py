"""health_check: answers the question whether this proxy is well, or passes it on and remembers the answer.

Envoy: envoy.filters.http.health_check. Security posture: whoever may send requests may ask; the answer tells a status
and the name of the node's cluster. What an upstream answered is remembered by each worker for itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pyproxy import clock
from pyproxy.config.extensions import CompileContext
from pyproxy.config.matcher_compile import compile_header_match
from pyproxy.config.matchers import HeaderMatch
from pyproxy.config.view import View
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.predicates import all_of, build_header_predicate
from pyproxy.http.whole_body import WholeBody
from pyproxy.runtime import Runtime

Next = Callable[[Request], Awaitable[Response]]

_CHECKED = b"x-envoy-upstream-healthchecked-cluster"
_FAIL = b"x-envoy-immediate-health-check-fail"
_DEGRADED = b"x-envoy-degraded"


@dataclass(frozen=True, slots=True)
class HealthCheckFilterConfig:
    """`headers` tell which requests ask; none: all do. `least_healthy` are (cluster, percent of its hosts)."""

    pass_through: bool
    headers: tuple[HeaderMatch, ...] = ()
    cache_seconds: float = 0.0
    least_healthy: tuple[tuple[str, float], ...] = ()

    def build(self, runtime: Runtime) -> HealthCheck:
        return HealthCheck(self, runtime)


def compile(view: View, context: CompileContext) -> HealthCheckFilterConfig:  # noqa: A001 (the name that filters have)
    """A `HealthCheck`. A cluster that there is not (yet) makes answers bad, and not the configuration (Envoy)."""
    del context
    pass_through = bool(view.wrapped("pass_through_mode"))
    cache = view.seconds("cache_time") or 0.0
    if cache and not pass_through:
        view.fail("cache_time", "is for answers of upstreams", expected="pass_through_mode: true beside it")
    percents = view.entries("cluster_min_healthy_percentages")
    return HealthCheckFilterConfig(
        pass_through=pass_through,
        headers=view.each("headers", compile_header_match),
        cache_seconds=cache,
        least_healthy=tuple((name, float(percent.scalar("value"))) for name, percent in percents.items()),
    )


class HealthCheck:
    """Shared by all requests of a chain."""

    sees_replies = True

    def __init__(self, config: HealthCheckFilterConfig, runtime: Runtime) -> None:
        self._config = config
        self._runtime = runtime
        self._fits = all_of(build_header_predicate(match) for match in config.headers)
        self._cluster = runtime.node.cluster.encode()
        self._status, self._degraded = 200, False
        self._good_until = 0.0
        """When the remembered answer is too old."""

    async def __call__(self, request: Request, next: Next) -> Response:  # noqa: A002 (the name that every filter has)
        runtime = self._runtime
        if self._fits is not None and not self._fits(request):
            response = await next(request)
            if runtime.health_check_failed:
                response.headers.set(_FAIL, b"true")
            return response
        info = request.info
        info.health_check = True
        if info.span is not None:
            info.span.identity.sampled = False
        cached = clock.now < self._good_until
        if not self._config.pass_through or runtime.health_check_failed or cached:
            if request.body is not None:
                await WholeBody.of_request(request)
            raise self._answer()
        response = await next(request)
        if self._config.cache_seconds:
            self._status, self._degraded = response.status, _DEGRADED in response.headers
            self._good_until = clock.now + self._config.cache_seconds
        self._mark(response.headers)
        return response

    def _mark(self, headers: Headers) -> None:
        headers.set(_CHECKED, self._cluster)
        if self._runtime.health_check_failed:
            headers.set(_FAIL, b"true")

    def _answer(self) -> ProxyError:
        """The answer that is given here; an error is how it reaches the filters before this one."""
        headers = Headers()
        if self._runtime.health_check_failed:
            status, details = 503, "health_check_failed"
        elif self._config.cache_seconds:
            status, details = self._status, "health_check_cached"
            if self._degraded:
                headers.add(_DEGRADED, b"")
        else:
            status, details = self._ask_clusters()
        self._mark(headers)
        flag = None if 200 <= status < 300 else ResponseFlag.FAILED_LOCAL_HEALTH_CHECK
        return ProxyError(flag, Source.LOCAL, status, details, headers=tuple(headers))

    def _ask_clusters(self) -> tuple[int, str]:
        details = "health_check_ok"
        for name, percent in self._config.least_healthy:
            details = "health_check_ok_cluster_healthy"
            cluster = self._runtime.clusters.get(name)
            if cluster is None:
                return 503, "health_check_failed_no_cluster_found"
            hosts = cluster.host_set
            if not hosts.hosts:
                if percent >= 1:  # fractions of a percent do not count (Envoy)
                    return 503, "health_check_failed_cluster_empty"
            elif 100 * (len(hosts.healthy) + len(hosts.degraded)) < len(hosts.hosts) * int(percent):
                return 503, "health_check_failed_cluster_unhealthy"
        return 200, details
