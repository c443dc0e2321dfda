"""dynamic_forward_proxy: has the name that a request is for resolved, before the router asks for its host.

Envoy: envoy.filters.http.dynamic_forward_proxy. Security posture: the downstream chooses where requests go, to every
address that this machine can reach, so it belongs behind authorisation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from pyproxy.clusters.discovery.dynamic import DynamicDiscovery, NotPrepared, SubClusters, Unready
from pyproxy.clusters.dynamic_host import HOST_STATE, PORT_STATE
from pyproxy.config.dns_cache_compile import compile_dns_cache
from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.http.message import Request, Response
from pyproxy.runtime import Runtime

_NAME: Final = "envoy.filters.http.dynamic_forward_proxy"


@dataclass(frozen=True, slots=True)
class DynamicForwardProxyConfig:
    """`by_state`: what other filters have put into the filter state goes before the authority."""

    by_state: bool = False

    def build(self, runtime: Runtime) -> DynamicForwardProxy:
        return DynamicForwardProxy(self, runtime)


@dataclass(frozen=True, slots=True)
class HostOverride:
    """What a route sends as the authority; that of a header where `header` is set and the request has it."""

    literal: str = ""
    header: bytes = b""


def compile(view: View, context: CompileContext) -> DynamicForwardProxyConfig:  # noqa: A001 (the name that every filter has)
    """A `FilterConfig`."""
    kind = view.oneof("implementation_specifier")
    if kind == "dns_cache_config":
        compile_dns_cache(view.need(kind), context)
    elif kind is not None:
        view.need(kind)
    return DynamicForwardProxyConfig(bool(view.scalar("allow_dynamic_host_from_filter_state")))


def compile_route(view: View, context: CompileContext) -> HostOverride:
    """A `PerRouteConfig`."""
    del context
    return HostOverride(view.text("host_rewrite_literal"), view.text("host_rewrite_header").lower().encode())


class DynamicForwardProxy:
    """Shared by all requests of a chain."""

    def __init__(self, config: DynamicForwardProxyConfig, runtime: Runtime) -> None:
        self._by_state = config.by_state
        self._clusters = runtime.clusters

    async def __call__(self, request: Request, next: Callable[[Request], Awaitable[Response]]) -> Response:  # noqa: A002
        route = request.route
        if route is not None and route.answer is None:
            cluster = self._clusters.get(route.resolve(request).cluster)
            if cluster is not None and cluster.dynamic is not None:
                await self._prepare(request, cluster.dynamic)
        return await next(request)

    async def _prepare(self, request: Request, dynamic: DynamicDiscovery | SubClusters) -> None:
        override = request.route.filter_config(_NAME, request)
        if override is not None and override.config is not None:
            _rewrite(request, override.config)
        state = request.info.filter_state or request.info.connection.filter_state
        if self._by_state and state is not None and state.get(HOST_STATE):
            port = str(state.get(PORT_STATE, ""))
            request.info.dynamic_host = (
                str(state[HOST_STATE]).lower(),
                int(port) if port.isdecimal() else dynamic.port,
            )
        try:
            await dynamic.prepare(request)
        except NotPrepared as error:
            raise _refused(error) from error


def _rewrite(request: Request, override: HostOverride) -> None:
    if override.literal:
        request.authority = override.literal.encode()
    elif override.header:
        request.authority = request.headers.get(override.header) or request.authority


def _refused(error: NotPrepared) -> ProxyError:
    text = error.why.value
    if error.why is Unready.FAILED:
        flag, details = ResponseFlag.DNS_RESOLUTION_FAILURE, f"dns_resolution_failure{{{error}}}"
        return ProxyError(flag, Source.LOCAL, 503, details.replace(" ", "_"), body=text.encode())
    return ProxyError(None, Source.LOCAL, 503, text.replace(" ", "_"), body=text.encode())
