"""The hosts of a collector's cluster, for the few connections that the manager itself makes.

Workers balance traffic; a collector gets one connection at a time, to the next host where one cannot be had. Names are
resolved when a connection is made. TLS is what the cluster says, and who answers is checked as for traffic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from pyproxy.config.cluster import ClusterConfig, EndpointConfig
from pyproxy.config.tls import UpstreamTlsConfig
from pyproxy.config.tls_reload import reload_tls
from pyproxy.network.transport_sockets.tls import client_context, verify_peer

_MOST_SECONDS: Final = 5.0


class NoDestination(Exception):
    """There is nobody to connect to."""


FindCluster = Callable[[str], ClusterConfig | None]


class Destination:
    """The cluster of one name, as it is when a connection is made."""

    def __init__(self, name: str, find: FindCluster) -> None:
        self._name = name
        self._find = find
        self._turn = 0

    async def connect(self, protocol: Callable[[], Any], *alpn: str) -> Any:
        """A protocol connected to one of the hosts. Raises NoDestination, OSError, PeerRefused and InvalidConfig."""
        cluster = self._find(self._name)
        if cluster is None or not cluster.endpoints:
            raise NoDestination(f"the cluster {self._name!r} has no hosts")
        host = cluster.endpoints[self._turn % len(cluster.endpoints)]
        try:
            seconds = min(cluster.connect_timeout, _MOST_SECONDS)
            return await asyncio.wait_for(_connect(cluster, host, protocol, alpn), seconds)
        except BaseException:
            self._turn += 1
            raise


async def _connect(
    cluster: ClusterConfig, host: EndpointConfig, protocol: Callable[[], Any], alpn: tuple[str, ...]
) -> Any:
    loop, address = asyncio.get_running_loop(), host.address
    options: dict[str, Any] = {}
    tls = cluster.tls
    if tls is not None:
        if tls.source is not None:
            fresh = reload_tls(tls.source)
            assert isinstance(fresh, UpstreamTlsConfig)
            tls = fresh
        name = host.hostname if tls.auto_host_sni and host.hostname else tls.sni
        options = {"ssl": client_context(tls, alpn), "server_hostname": name}
    if address.pipe:
        path = "\0" + address.pipe[1:] if address.pipe.startswith("@") else address.pipe
        transport, made = await loop.create_unix_connection(protocol, path, **options)
    else:
        transport, made = await loop.create_connection(protocol, address.host, address.port, **options)
    if tls is not None:
        try:
            verify_peer(transport.get_extra_info("ssl_object"), tls.common.validation)
        except BaseException:
            transport.abort()
            raise
    return made
