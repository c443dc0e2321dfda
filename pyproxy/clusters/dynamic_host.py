"""Which name and port a request or a connection is for, to a dynamic forward proxy."""

from __future__ import annotations

from typing import Final

from pyproxy.config.dns_cache import Named
from pyproxy.http.message import Request

HOST_STATE: Final = "envoy.upstream.dynamic_host"
PORT_STATE: Final = "envoy.upstream.dynamic_port"
_MOST_PORT: Final = 65535


def host_of(request: Request, default_port: int) -> Named | None:
    """What a filter said, else the authority; None where that is no name. Names are in lower case."""
    info = request.info
    for said in (info.dynamic_host, info.connection.dynamic_host):
        if said[0]:
            return said
    return parse_authority(request.authority, default_port)


def parse_authority(authority: bytes, default_port: int) -> Named | None:
    """`name`, `name:port`, `1.2.3.4:port`, `[::1]:port`."""
    text = authority.decode("latin-1").lower()
    host, colon, port = text.rpartition(":")
    if not colon or host.endswith(":") or (text.startswith("[") and text.endswith("]")):
        host, port = text, ""
    elif not port.isascii() or not port.isdecimal() or len(port) > 5 or not 0 < int(port) <= _MOST_PORT:
        return None
    host = host.removeprefix("[").removesuffix("]")
    return (host, int(port) if port else default_port) if host else None
