"""The TCP proxy as a value (envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy).

The compile function is in `compile.py` beside it; the live one in `tcp_proxy.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyproxy.config.access_log import AccessLogConfig
from pyproxy.config.config_source import OnDemandClustersConfig
from pyproxy.config.format import Format
from pyproxy.config.headers import HeaderAdd
from pyproxy.config.subset import NO_CRITERIA, Criteria

if TYPE_CHECKING:
    from pyproxy.filters.network.tcp_proxy.tcp_proxy import TcpProxy
    from pyproxy.runtime import Runtime


@dataclass(frozen=True, slots=True)
class TunnelConfig:
    """How to ask for a tunnel. An empty `post_path` means CONNECT."""

    hostname: Format
    post_path: bytes = b""
    headers: tuple[HeaderAdd, ...] = ()


@dataclass(frozen=True, slots=True)
class TcpProxyConfig:
    """`clusters` are (name, weight), one of them chosen for each connection. Seconds; 0 switches a timeout off."""

    stat_prefix: str
    clusters: tuple[tuple[str, int], ...]
    idle_timeout: float = 3600.0
    max_connect_attempts: int = 1
    max_connection_duration: float = 0.0
    access_logs: tuple[AccessLogConfig, ...] = ()
    log_on_connected: bool = False
    """An entry when the upstream connection is there, besides the one at the end."""
    log_interval: float = 0.0
    """Seconds between entries while a session lasts."""
    tunnel: TunnelConfig | None = None
    """Sessions go through the HTTP proxies that the hosts are."""
    subset: Criteria = NO_CRITERIA
    subsets: tuple[Criteria, ...] = ()
    """The metadata for each of `clusters` that the host has to have, where they differ."""
    on_demand: OnDemandClustersConfig | None = None
    """Where a cluster is asked for that there is not."""
    hash_source: bool = False
    """Hosts are chosen by the address of the downstream, where they are chosen by a hash."""
    hash_state: str = ""
    """Or by what stands under this key of the filter state."""

    def build(self, runtime: Runtime) -> TcpProxy:
        """The live proxy; what it needs is imported when the first one is built."""
        from pyproxy.filters.network.tcp_proxy.tcp_proxy import TcpProxy

        return TcpProxy(self, runtime)
