"""Opening a connection to a host: TCP or a Unix socket, TLS where the cluster says so, and who is there checked."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from pyproxy.network.connection import Connection
from pyproxy.network.keepalive import keep_alive
from pyproxy.network.transport_sockets.tls import PeerRefused

if TYPE_CHECKING:
    from pyproxy.clusters.cluster import Cluster
    from pyproxy.clusters.host import Host


async def dial(
    loop: asyncio.AbstractEventLoop,
    cluster: Cluster,
    host: Host,
    connection: Connection,
    server_name: str = "",
    sans: tuple[str, ...] = (),
) -> None:
    """Make `connection` be one to `host`. Raises OSError (ssl.SSLError among them) and PeerRefused.

    For TLS, `server_name` goes before the name that the cluster asks for; the certificate has to be for one of `sans`,
    where there are any.
    """
    address = host.address_config
    protocol: Any = connection  # one by shape
    options: dict[str, Any] = {}
    dialer, check = cluster.dialer(host), None
    if dialer is not None:
        options = dialer.options(host.hostname, server_name)
        check = connection.admit = dialer.check_of_one(host.hostname, server_name, names=sans)
    try:
        if address.pipe:
            path = "\0" + address.pipe[1:] if address.pipe.startswith("@") else address.pipe
            await loop.create_unix_connection(lambda: protocol, path, **options)
        else:
            await loop.create_connection(lambda: protocol, address.host, address.port, **options)
    except ssl.SSLError as error:
        cluster.stats.ssl.count_failure(error)
        raise
    if check is not None:
        if check.refusal:
            cluster.stats.ssl.count_refusal(san=check.san)
            raise PeerRefused(check.refusal)
        connection.on_gone = check.gone
        cluster.stats.ssl.count_handshake(connection.transport.get_extra_info("ssl_object"))
    keepalive, sock = cluster.config.tcp_keepalive, connection.socket()
    if keepalive is not None and sock is not None:
        keep_alive(sock, keepalive)


def reason(error: Exception | None) -> str:
    """What went wrong, as Envoy writes it in logs and local replies; empty for a timeout."""
    if error is None:
        return ""
    if isinstance(error, (ssl.SSLError, PeerRefused)):
        parts = (getattr(error, "reason", None), getattr(error, "verify_message", None))
        said = ":".join(part for part in parts if part) or str(error)
        return f"TLS_error:{said.replace(' ', '_')}"
    text = getattr(error, "strerror", None) or str(error)
    return f"delayed_connect_error:_{text.replace(' ', '_')}"
