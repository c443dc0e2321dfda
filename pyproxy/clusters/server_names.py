"""Which name a request asks its upstream for when TLS begins, and which names may stand in the certificate of that.

Envoy: auto_sni, auto_san_validation and override_auto_sni_header of UpstreamHttpProtocolOptions.
"""

from __future__ import annotations

import functools
import ipaddress

from pyproxy.config.cluster import UpstreamHttpOptions
from pyproxy.http.message import Request


def name_upstream(request: Request, options: UpstreamHttpOptions) -> None:
    """Write it down, once for all tries: what one of them does to the authority changes nothing any more."""
    info = request.info
    if info.upstream_named:
        return
    info.upstream_named = True
    said = request.headers.index.get(options.sni_header) if options.sni_header else None
    host, is_ip = _host(said or request.authority)
    if options.auto_sni and not is_ip and not info.upstream_server_name:
        info.upstream_server_name = host
    if options.auto_san_validation and not info.upstream_sans:
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
