"""The table of contents: every Envoy extension that is built in, and the module that compiles it.

A module is imported when a configuration first asks for it.
"""

from __future__ import annotations

from typing import Final

from pyproxy.config.extensions import Category, Extension, Extensions

EXTENSIONS: Final = Extensions(
    (
        Extension(
            name="envoy.filters.listener.http_inspector",
            type_name="envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
            category=Category.LISTENER_FILTER,
            module="pyproxy.filters.listener.http_inspector",
        ),
        Extension(
            name="envoy.filters.listener.original_dst",
            type_name="envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
            category=Category.LISTENER_FILTER,
            module="pyproxy.filters.listener.original_dst",
        ),
        Extension(
            name="envoy.filters.listener.proxy_protocol",
            type_name="envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
            category=Category.LISTENER_FILTER,
            module="pyproxy.filters.listener.proxy_protocol",
        ),
        Extension(
            name="envoy.filters.listener.tls_inspector",
            type_name="envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
            category=Category.LISTENER_FILTER,
            module="pyproxy.filters.listener.tls_inspector",
        ),
        Extension(
            name="envoy.filters.network.connection_limit",
            type_name="envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
            category=Category.NETWORK_FILTER,
            module="pyproxy.filters.network.connection_limit",
        ),
        Extension(
            name="envoy.filters.network.direct_response",
            type_name="envoy.extensions.filters.network.direct_response.v3.Config",
            category=Category.NETWORK_FILTER,
            module="pyproxy.filters.network.direct_response",
            terminal=True,
        ),
        Extension(
            name="envoy.filters.network.echo",
            type_name="envoy.extensions.filters.network.echo.v3.Echo",
            category=Category.NETWORK_FILTER,
            module="pyproxy.filters.network.echo",
            terminal=True,
        ),
        Extension(
            name="envoy.filters.network.local_ratelimit",
            type_name="envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
            category=Category.NETWORK_FILTER,
            module="pyproxy.filters.network.local_ratelimit",
        ),
        Extension(
            name="envoy.filters.network.sni_cluster",
            type_name="envoy.extensions.filters.network.sni_cluster.v3.SniCluster",
            category=Category.NETWORK_FILTER,
            module="pyproxy.filters.network.sni_cluster",
        ),
        Extension(
            name="envoy.filters.network.http_connection_manager",
            type_name="envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            category=Category.NETWORK_FILTER,
            module="pyproxy.filters.network.http_connection_manager.compile",
            terminal=True,
        ),
        Extension(
            name="envoy.filters.network.rbac",
            type_name="envoy.extensions.filters.network.rbac.v3.RBAC",
            category=Category.NETWORK_FILTER,
            module="pyproxy.filters.network.rbac.compile",
        ),
        Extension(
            name="envoy.filters.network.tcp_proxy",
            type_name="envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            category=Category.NETWORK_FILTER,
            module="pyproxy.filters.network.tcp_proxy.compile",
            terminal=True,
        ),
        Extension(
            name="istio.metadata_exchange",
            type_name="io.istio.http.peer_metadata.Config",
            category=Category.HTTP_FILTER,
            module="pyproxy.filters.http.peer_metadata",
        ),
        Extension(
            name="istio.stats",
            type_name="stats.PluginConfig",
            category=Category.HTTP_FILTER,
            module="pyproxy.filters.http.istio_stats",
        ),
        Extension(
            name="istio.stats",
            type_name="stats.PluginConfig",
            category=Category.NETWORK_FILTER,
            module="pyproxy.filters.http.istio_stats",
        ),
        Extension(
            name="envoy.filters.http.router",
            type_name="envoy.extensions.filters.http.router.v3.Router",
            category=Category.HTTP_FILTER,
            module="pyproxy.filters.http.router.compile",
            terminal=True,
        ),
    )
)
