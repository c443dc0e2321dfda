"""What a request or a session wants of the connection that it goes over, beyond its host (Envoy: the same name).

Two that want different things cannot share a connection.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import Final, NamedTuple

from pyproxy.config.cluster import UpstreamHttpOptions
from pyproxy.config.filter_state import SharedState
from pyproxy.http.message import Request
from pyproxy.http.stream_info import ConnectionInfo

Address = tuple[str, int]


class Told(NamedTuple):
    """What the PROXY header says of the downstream (Envoy: ProxyProtocolFilterState)."""

    source: Address
    destination: Address
    tlvs: tuple[tuple[int, bytes], ...] = ()


Source = tuple[str, int]
"""(address, mark) that a connection comes from; mark 0 for none, no address for our own."""

NO_SOURCE: Final[Source] = ("", 0)


class TransportSocketOptions(NamedTuple):
    """`server_name` goes before the SNI that the cluster has; the certificate has to be for one of `sans`, if any."""

    server_name: str = ""
    sans: tuple[str, ...] = ()
    told: Told | None = None
    source: Source = NO_SOURCE
    shared: tuple[SharedState, ...] = ()
    """What goes along to internal listeners."""


NO_OPTIONS: Final = TransportSocketOptions()


def options_of_request(request: Request, http: UpstreamHttpOptions, *, tells: bool) -> TransportSocketOptions:
    """`tells`: there is a PROXY header."""
    if http.names_upstreams:
        name_upstream(request, http)
    info = request.info
    connection = info.connection
    return TransportSocketOptions(
        info.upstream_server_name or connection.upstream_server_name,
        info.upstream_sans or connection.upstream_sans,
        told_of(connection) if tells else None,
        connection.upstream_source,
        connection.shared_state,
    )


def options_of_connection(info: ConnectionInfo, *, tells: bool) -> TransportSocketOptions:
    """What a session of the TCP proxy wants."""
    told = told_of(info) if tells else None
    names, sans = info.upstream_server_name, info.upstream_sans
    return TransportSocketOptions(names, sans, told, info.upstream_source, info.shared_state)


def told_of(info: ConnectionInfo) -> Told:
    return Told(info.peer, info.local, info.proxy_tlvs)


def name_upstream(request: Request, options: UpstreamHttpOptions) -> None:
    """Write down the name, once for all tries: what one of them does to the authority changes nothing any more.

    Envoy: auto_sni, auto_san_validation and override_auto_sni_header of UpstreamHttpProtocolOptions.
    """
    info = request.info
    if info.upstream_named:
        return
    info.upstream_named = True
    said = request.headers.index.get(options.sni_header) if options.sni_header else None
    host, is_ip = _host(said or request.authority)
    if options.auto_sni and not is_ip and not info.connection.upstream_server_name:
        info.upstream_server_name = host
    if options.auto_san_validation and not info.connection.upstream_sans:
        info.upstream_sans = (host,)


@functools.lru_cache(1024)
def _host(authority: bytes) -> tuple[str, bool]:
    """(host without the port, whether it is an IP address)."""
    text = authority.decode("ascii", "replace")
    if text.startswith("["):
        return text[1:].partition("]")[0], True
    host = text.rpartition(":")[0] if text.rpartition(":")[2].isdigit() and ":" in text else text
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host, False
    return host, True
