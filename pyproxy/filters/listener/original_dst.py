"""original_dst: where a connection was meant to go before the system redirected it here.

A listener filter. Envoy: envoy.filters.listener.original_dst. Security posture: believes the kernel, and of connections
that come from this process what its configuration lets them bring.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final

from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.filters.common.connection_state import LOCAL, REMOTE, address_of
from pyproxy.network.incoming import Address, Incoming
from pyproxy.runtime import Runtime

_NAME: Final = "envoy.filters.listener.original_dst"
_SO_ORIGINAL_DST: Final = 80
"""linux/netfilter_ipv4.h; the same number for IPv6 (IP6T_SO_ORIGINAL_DST)."""
_IP_TRANSPARENT: Final = 19
_IPV6_TRANSPARENT: Final = 75
_SOCKADDR_IN: Final = 16
_SOCKADDR_IN6: Final = 28


@dataclass(frozen=True, slots=True)
class OriginalDstConfig:
    def build(self, runtime: Runtime) -> OriginalDst:
        del runtime
        return OriginalDst()


def compile(view: View, context: CompileContext) -> OriginalDstConfig:  # noqa: A001 (the name that every filter has)
    """An `OriginalDst`, which has nothing to say."""
    del view, context
    return OriginalDstConfig()


class OriginalDst:
    """Shared by all connections of a listener."""

    async def __call__(self, incoming: Incoming) -> None:
        if incoming.inside is not None:
            _restore(incoming)
            return
        found = original_destination(incoming.sock)
        if found is not None:
            incoming.destination = found
            incoming.restored = found != incoming.direct_destination
        else:
            incoming.restored = is_transparent(incoming.sock)


def _restore(incoming: Incoming) -> None:
    """The filter state goes before the metadata, which says only where it was meant to go (Envoy)."""
    said = {one.key: one.value for one in incoming.state}
    local = said.get(LOCAL)
    if local is None:
        local = str(incoming.metadata.get(_NAME, {}).get("local", ""))
    destination, source = address_of(local), address_of(said.get(REMOTE, ""))
    if destination is not None:
        incoming.destination = destination
        incoming.restored = True
    if source is not None:
        incoming.source = source


def original_destination(sock: socket.socket) -> Address | None:
    """None where the connection was not redirected. With TPROXY the socket has the address by itself."""
    try:
        if sock.family == socket.AF_INET6:
            raw = sock.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, _SOCKADDR_IN6)
            (port,) = struct.unpack_from("!H", raw, 2)
            return socket.inet_ntop(socket.AF_INET6, raw[8:24]), port
        if sock.family == socket.AF_INET:
            raw = sock.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, _SOCKADDR_IN)
            (port,) = struct.unpack_from("!H", raw, 2)
            return socket.inet_ntop(socket.AF_INET, raw[4:8]), port
    except OSError:
        pass
    return None


def is_transparent(sock: socket.socket) -> bool:
    """The connection came by TPROXY, so that its own address is the one that was meant."""
    if sock.family == socket.AF_INET6:
        return bool(sock.getsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT))
    return sock.family == socket.AF_INET and bool(sock.getsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT))
