"""sni_dynamic_forward_proxy: the name that a TLS client asks for is where the TCP proxy behind it sends the connection.

A network filter; the cluster of the TCP proxy is a dynamic forward proxy. Envoy:
envoy.filters.network.sni_dynamic_forward_proxy. Security posture: the downstream chooses where it is connected to, so
it belongs behind authorisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyproxy.clusters.dynamic_host import PORT_STATE
from pyproxy.config.dns_cache_compile import compile_dns_cache
from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.filters.common.network_filter import STAYS, Leave
from pyproxy.http.stream_info import ConnectionInfo
from pyproxy.runtime import Runtime

_TLS_PORT: Final = 443


@dataclass(frozen=True, slots=True)
class SniDynamicForwardProxyConfig:
    port: int = _TLS_PORT

    def build(self, runtime: Runtime) -> SniDynamicForwardProxy:
        del runtime
        return SniDynamicForwardProxy(self)


def compile(view: View, context: CompileContext) -> SniDynamicForwardProxyConfig:  # noqa: A001 (the name that every filter has)
    """A `FilterConfig`."""
    compile_dns_cache(view.need("dns_cache_config"), context)
    return SniDynamicForwardProxyConfig(int(view.scalar("port_value")) or _TLS_PORT)


class SniDynamicForwardProxy:
    """Shared by all connections of a chain."""

    def __init__(self, config: SniDynamicForwardProxyConfig) -> None:
        self._port = config.port

    def admit(self, info: ConnectionInfo) -> Leave | None:
        name = info.requested_server_name
        if name:
            port = "" if info.filter_state is None else str(info.filter_state.get(PORT_STATE, ""))
            info.dynamic_host = (name.lower(), int(port) if port.isdecimal() else self._port)
        return STAYS
