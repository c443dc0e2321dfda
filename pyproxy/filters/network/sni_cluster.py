"""sni_cluster: the name that a TLS client asks for is the cluster that the TCP proxy behind it takes.

A network filter. Envoy: envoy.filters.network.sni_cluster. Security posture: the downstream chooses among all clusters,
so it belongs where every cluster may be reached, such as the east-west gateway of a mesh.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.filters.common.network_filter import STAYS, Leave
from pyproxy.http.stream_info import ConnectionInfo
from pyproxy.runtime import Runtime


@dataclass(frozen=True, slots=True)
class SniClusterConfig:
    def build(self, runtime: Runtime) -> SniCluster:
        del runtime
        return SniCluster()


def compile(view: View, context: CompileContext) -> SniClusterConfig:  # noqa: A001 (the name that every filter has)
    """A `SniCluster`, which has nothing to say."""
    del view, context
    return SniClusterConfig()


class SniCluster:
    """Shared by all connections of a chain."""

    def admit(self, info: ConnectionInfo) -> Leave | None:
        if info.requested_server_name:
            info.tcp_cluster = info.requested_server_name
        return STAYS
