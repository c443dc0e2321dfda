"""The names under which Envoy's application log is divided, and which of our modules speak under each.

A component with no module here is accepted all the same: operators and control planes pass fixed lists such as
`--component-log-level misc:error`. Not on the request path.
"""

from __future__ import annotations

import logging

TRACE = 5
OFF = logging.CRITICAL + 10

LEVELS = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": OFF,
}
ALIASES = {"warn": "warning", "err": "error"}

MODULES: dict[str, tuple[str, ...]] = {
    "admin": ("pyproxy.server.admin",),
    "client": ("pyproxy.clusters.upstream",),
    "config": ("pyproxy.config", "pyproxy.xds_client"),
    "connection": ("pyproxy.network",),
    "conn_handler": ("pyproxy.listeners",),
    "dns": ("pyproxy.clusters.discovery",),
    "file": ("pyproxy.telemetry.logs",),
    "filter": ("pyproxy.filters",),
    "hc": ("pyproxy.clusters.health_checks",),
    "http": ("pyproxy.http", "pyproxy.filters.network.http_connection_manager"),
    "main": ("pyproxy", "pyproxy.server", "pyproxy.tasks"),
    "pool": ("pyproxy.clusters.conn_pool",),
    "router": ("pyproxy.filters.http.router", "pyproxy.routes"),
    "runtime": ("pyproxy.runtime", "pyproxy.config.runtime_values"),
    "secret": ("pyproxy.network.transport_sockets.secrets",),
    "stats": ("pyproxy.telemetry",),
    "upstream": ("pyproxy.clusters",),
    "misc": ("asyncio", "aiohttp", "py.warnings"),
}

_ENVOY_ONLY = """
a2a ai_protocol_manager alternate_protocols_cache assert aws backtrace basic_auth cache_filter compression
credential_injector decompression dubbo dynamic_modules envoy_bug ext_authz ext_proc forward_proxy geolocation golang
grpc happy_eyeballs health_checker http2 hystrix init io ip_tagging json_rpc jwt kafka key_value_store local_rate_limit
lua matcher mcp mongo multi_connection notification oauth2 quic quic_stream rate_limit_quota rbac rds redis rocketmq
sse stats_sinks tap testing thrift tracing udp wasm websocket
"""

COMPONENTS: tuple[str, ...] = tuple(sorted({*MODULES, *_ENVOY_ONLY.split()}))
_COMPONENT_OF = {module: component for component, modules in MODULES.items() for module in modules}


def level_number(name: str) -> int:
    """Raises KeyError where there is no such level."""
    return LEVELS[ALIASES.get(name, name)]


def component_of(module: str) -> str:
    """The component that a logger speaks under: that of the nearest enclosing module in the table."""
    while module not in _COMPONENT_OF:
        module, dot, _ = module.rpartition(".")
        if not dot:
            return "misc"
    return _COMPONENT_OF[module]
