"""Opening a connection to a host: TCP or a Unix socket, TLS where the cluster says so, and who is there checked."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

from pyproxy.clusters.happy_eyeballs import first_connected, in_turn
from pyproxy.clusters.transport_socket_options import NO_OPTIONS, Source, Told, TransportSocketOptions
from pyproxy.config.address import AddressConfig
from pyproxy.config.bind import BindConfig, SourceConfig
from pyproxy.config.proxy_header import ProxyHeaderConfig
from pyproxy.config.socket_option import BOUND, PREBIND
from pyproxy.network.connection import Connection
from pyproxy.network.internal_listeners import Passed
from pyproxy.network.keepalive import keep_alive
from pyproxy.network.proxy_header import local_header, write_proxy_header
from pyproxy.network.socket_options import set_options
from pyproxy.network.transport_sockets.tls import PeerRefused

if TYPE_CHECKING:
    from pyproxy.clusters.cluster import Cluster
    from pyproxy.clusters.host import Host

_BIND_ADDRESS_NO_PORT: Final = 24
"""linux/in.h: the port is chosen when it is known where to, so that there are enough of them."""


_FREEBIND: Final = (socket.IPPROTO_IP, 15)
_FREEBIND_6: Final = (socket.IPPROTO_IPV6, 78)


class LocalFailure(OSError):
    """A connection cannot even be begun: the socket cannot be made what it should be."""


class CannotBind(LocalFailure):
    """A connection cannot come from where it should."""


async def dial(
    loop: asyncio.AbstractEventLoop,
    cluster: Cluster,
    host: Host,
    connection: Connection,
    transport: TransportSocketOptions = NO_OPTIONS,
) -> None:
    """Make `connection` be one to `host`. Raises OSError (ssl.SSLError among them) and PeerRefused."""
    protocol: Any = connection  # one by shape
    options: dict[str, Any] = {}
    dialer, check, header = cluster.dialer(host), None, cluster.proxy_header(host)
    if dialer is not None:
        options = dialer.options(host.hostname, transport.server_name)
        check = connection.admit = dialer.check_of_one(host.hostname, transport.server_name, names=transport.sans)
    try:
        address = host.address_config
        bind = cluster.config.bind
        if address.internal or header is not None or transport.source[0] or bind is not None or host.also:
            if address.internal:
                made = _inside(cluster, host, transport)
            elif host.also:
                turns = in_turn((address, *host.also), *cluster.config.happy_eyeballs)
                made = await first_connected(turns, lambda one: _connected(loop, one, transport, bind))
            else:
                made = await _connected(loop, address, transport, bind)
            try:
                if header is not None:
                    await loop.sock_sendall(made, _header(header, transport.told, made))
                await _open(loop, protocol, {**options, "sock": made}, pipe=made.family == socket.AF_UNIX)
            except BaseException:
                made.close()
                raise
        else:
            await _open(loop, protocol, {**options, **_where(address)}, pipe=bool(address.pipe))
    except CannotBind:
        cluster.stats.bind_errors.value += 1
        raise
    except ssl.SSLError as error:
        cluster.stats.ssl.count_failure(error)
        raise
    if check is not None:
        if check.refusal:
            cluster.stats.ssl.count_refusal(san=check.san)
            raise PeerRefused(check.refusal)
        cluster.stats.ssl.count_handshake(connection.transport.get_extra_info("ssl_object"))
    keepalive, sock = cluster.config.tcp_keepalive, connection.socket()
    if keepalive is not None and sock is not None and sock.family != socket.AF_UNIX:
        keep_alive(sock, keepalive)


def _where(address: AddressConfig) -> dict[str, Any]:
    if address.pipe:
        return {"path": "\0" + address.pipe[1:] if address.pipe.startswith("@") else address.pipe}
    return {"host": address.host, "port": address.port}


async def _open(loop: asyncio.AbstractEventLoop, protocol: Any, options: dict[str, Any], *, pipe: bool) -> None:
    create: Any = loop.create_unix_connection if pipe else loop.create_connection
    await create(lambda: protocol, **options)


def _inside(cluster: Cluster, host: Host, transport: TransportSocketOptions) -> socket.socket:
    """A connection to a listener of this worker, with what goes along."""
    address = host.address_config
    passed = Passed(cluster.passed_metadata(host), transport.shared)
    return cluster.internal.connect(address.internal, address.endpoint_id, passed)


async def _connected(
    loop: asyncio.AbstractEventLoop,
    address: AddressConfig,
    transport: TransportSocketOptions,
    bind: BindConfig | None,
) -> socket.socket:
    """A connected socket that comes from where it should."""
    kind = socket.AF_UNIX if address.pipe else socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(kind, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if transport.source[0] and kind != socket.AF_UNIX:
            _come_from(sock, transport.source)
        elif bind is not None and kind != socket.AF_UNIX:
            _bind(sock, bind.source_for(address.host))
        where = _where(address)
        await loop.sock_connect(sock, where["path"] if address.pipe else (where["host"], where["port"]))
    except OSError as error:
        sock.close()
        if isinstance(error, LocalFailure) or not error.errno:
            raise
        raise OSError(error.errno, os.strerror(error.errno)) from error  # what the loop says has addresses in it
    except BaseException:
        sock.close()
        raise
    return sock


def _come_from(sock: socket.socket, source: Source) -> None:
    """From an address that need not be ours (ip(7): IP_TRANSPARENT; ipv6(7))."""
    host, mark = source
    level, transparent = (socket.IPPROTO_IP, 19) if sock.family == socket.AF_INET else (socket.IPPROTO_IPV6, 75)
    sock.setsockopt(level, transparent, 1)
    sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    if mark:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    sock.bind((host, 0))


def _bind(sock: socket.socket, source: SourceConfig) -> None:
    """Raises LocalFailure."""
    try:
        set_options(sock, source.options, PREBIND)
        if source.freebind:
            sock.setsockopt(*(_FREEBIND if sock.family == socket.AF_INET else _FREEBIND_6), 1)
        if source.host:
            _bind_to(sock, source)
        set_options(sock, source.options, BOUND)
    except CannotBind:
        raise
    except OSError as error:
        raise LocalFailure(error.errno, "") from error


def _bind_to(sock: socket.socket, source: SourceConfig) -> None:
    if not source.port:
        sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    try:
        sock.bind((source.host, source.port))
    except OSError as error:
        at = f"[{source.host}]" if source.version == 6 else source.host
        raise CannotBind(error.errno, f"failed to bind to {at}:{source.port}: {error.strerror}") from error


def _header(config: ProxyHeaderConfig, told: Told | None, sock: socket.socket) -> bytes:
    """Where there is no downstream, version 1 tells of our own connection, and version 2 of none (Envoy)."""
    if told is None:
        if config.version == 2 or sock.family == socket.AF_UNIX:
            return local_header(config.version)
        return write_proxy_header(1, sock.getsockname()[:2], sock.getpeername()[:2])
    added = {kind for kind, _ in config.added}
    passed = [one for one in config.passed.of(told.tlvs) if one[0] not in added]
    return write_proxy_header(config.version, told.source, told.destination, (*config.added, *passed))


def reason(error: Exception | None) -> str:
    """What went wrong, as Envoy writes it in logs and local replies; empty for a timeout."""
    if error is None:
        return ""
    if isinstance(error, (ssl.SSLError, PeerRefused)):
        parts = (getattr(error, "reason", None), getattr(error, "verify_message", None))
        said = ":".join(part for part in parts if part) or str(error)
        return f"TLS_error:{said.replace(' ', '_')}"
    if isinstance(error, LocalFailure):
        return (error.strerror or "").replace(" ", "_")
    text = getattr(error, "strerror", None) or str(error)
    return f"delayed_connect_error:_{text.replace(' ', '_')}"
