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
            name="envoy.filters.network.http_connection_manager",
            type_name="envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            category=Category.NETWORK_FILTER,
            module="pyproxy.filters.network.http_connection_manager.compile",
            terminal=True,
        ),
        Extension(
            name="envoy.filters.network.tcp_proxy",
            type_name="envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            category=Category.NETWORK_FILTER,
            module="pyproxy.filters.network.tcp_proxy.compile",
            terminal=True,
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
