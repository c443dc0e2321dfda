"""Connections to a control plane: to the endpoints of a cluster of the bootstrap, or to an address of its own.

The control plane is reached by the manager process, which has no pools and no load balancer: there is one connection,
and the endpoints are tried one after the other from a random one on.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from pyproxy.clusters.discovery.resolver import ResolutionFailed
from pyproxy.clusters.discovery.resolvers import Resolvers
from pyproxy.config.address import AddressConfig
from pyproxy.config.cluster import ClusterConfig, EndpointConfig
from pyproxy.config.config_source import GoogleGrpcConfig
from pyproxy.config.dns import DnsConfig
from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.tls import UpstreamTlsConfig
from pyproxy.config.tls_reload import reload_tls
from pyproxy.network.keepalive import keep_alive
from pyproxy.network.transport_sockets.tls import PeerRefused, client_context, verify_peer

log = logging.getLogger("pyproxy.config")

P = TypeVar("P", bound=asyncio.BaseProtocol)
_GRPC_PORT: Final = 443


class NoEndpoint(Exception):
    """Nobody could be reached; says why."""


class Dialer(Protocol):
    """Where a control plane is. `name` is for logs, `secure` whether TLS is spoken."""

    name: str
    secure: bool

    async def dial(self, make: Callable[[], P], alpn: tuple[str, ...]) -> P:
        """A connection that has this protocol. Raises NoEndpoint."""
        ...


@dataclass(frozen=True, slots=True)
class DialServices:
    """What dialing needs of the process."""

    loop: asyncio.AbstractEventLoop
    resolvers: Resolvers
    rng: random.Random


class ClusterDialer:
    """The endpoints of a cluster."""

    def __init__(self, cluster: ClusterConfig, services: DialServices) -> None:
        self.name = cluster.name
        self.secure = cluster.tls is not None
        self._cluster = cluster
        self._services = services
        self._tls = cluster.tls

    async def dial(self, make: Callable[[], P], alpn: tuple[str, ...]) -> P:
        """Each endpoint has the connect timeout of the cluster."""
        endpoints = [one for one in self._cluster.endpoints if one.healthy] or list(self._cluster.endpoints)
        if endpoints:
            first = self._services.rng.randrange(len(endpoints))
            endpoints = endpoints[first:] + endpoints[:first]
        said = "it has no endpoint"
        for endpoint in sorted(endpoints, key=lambda one: one.priority):
            try:
                for address in await self._addresses(endpoint):
                    said = str(address)
                    connecting = self._connect(make, address, endpoint.hostname, alpn)
                    return await asyncio.wait_for(connecting, self._cluster.connect_timeout)
            except TimeoutError:
                said = f"{said}: no connection within {self._cluster.connect_timeout:g}s"
            except (OSError, PeerRefused, ResolutionFailed) as error:
                said = f"{said}: {getattr(error, 'strerror', None) or error}"
        raise NoEndpoint(f"cluster {self.name}: {said}")

    async def _addresses(self, endpoint: EndpointConfig) -> list[AddressConfig]:
        address = endpoint.address
        if address.pipe:
            return [address]
        dns = self._cluster.dns
        found = (await self._services.resolvers.of(dns).resolve(address.host, dns.lookup_family)).addresses
        if not found:
            raise ResolutionFailed(f"{address.host} has no address")
        return [replace(address, host=one) for one in found]

    async def _connect(self, make: Callable[[], P], address: AddressConfig, hostname: str, alpn: tuple[str, ...]) -> P:
        loop = self._services.loop
        options: dict[str, Any] = {}
        if self._tls is not None:
            self._tls = renewed(self._tls)
            name = hostname if self._tls.auto_host_sni and hostname else self._tls.sni
            options = {"ssl": client_context(self._tls, alpn), "server_hostname": name}
        if address.pipe:
            path = "\0" + address.pipe[1:] if address.pipe.startswith("@") else address.pipe
            transport, protocol = await loop.create_unix_connection(make, path, **options)
        else:
            transport, protocol = await loop.create_connection(make, address.host, address.port, **options)
        try:
            self._check(transport)
        except PeerRefused:
            transport.abort()
            raise
        return protocol

    def _check(self, transport: asyncio.BaseTransport) -> None:
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and self._tls is not None:
            verify_peer(tls, self._tls.common.validation)
        sock = transport.get_extra_info("socket")
        if self._cluster.tcp_keepalive is not None and sock is not None:
            keep_alive(sock, self._cluster.tcp_keepalive)


def renewed(tls: UpstreamTlsConfig) -> UpstreamTlsConfig:
    """With what its files hold now, if that can be used: connections are rare enough to look each time."""
    if tls.source is None:
        return tls
    try:
        made = reload_tls(tls.source)
    except (InvalidConfig, OSError, ssl.SSLError) as error:
        log.warning("%s cannot be used, so the old ones stay: %s", ", ".join(tls.source.files), error)
        return tls
    assert isinstance(made, UpstreamTlsConfig)
    return made


def google_dialer(google: GoogleGrpcConfig, services: DialServices) -> ClusterDialer:
    """The address that a `google_grpc` names."""
    endpoint = EndpointConfig(target_address(google.target_uri))
    cluster = ClusterConfig(
        google.target_uri, endpoints=(endpoint,), tls=google.tls, dns=DnsConfig(lookup_family="ALL")
    )
    return ClusterDialer(cluster, services)


def target_address(target: str) -> AddressConfig:
    """Of a target of gRPC: `host:port`, `dns:///host:port`, `ipv4:1.2.3.4:80`, `unix:/path`, `unix:///path`.

    https://github.com/grpc/grpc/blob/master/doc/naming.md
    """
    scheme, colon, rest = target.partition(":")
    if scheme == "unix" and colon:
        return AddressConfig(pipe=rest.removeprefix("//"))
    if scheme == "unix-abstract" and colon:
        return AddressConfig(pipe="@" + rest)
    if scheme in ("dns", "ipv4", "ipv6") and colon:
        target = rest.rpartition("/")[2]
    host, colon, port = target.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal():
        host, port = target, str(_GRPC_PORT)
    return AddressConfig(host.removeprefix("[").removesuffix("]"), int(port))
