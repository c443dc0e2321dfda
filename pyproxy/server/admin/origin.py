"""Who may speak to the admin: which addresses are loopback, and which names a local browser may use for them."""

from __future__ import annotations

import ipaddress

from pyproxy.config.address import AddressConfig


def is_loopback(address: AddressConfig) -> bool:
    """Whether only this machine can reach the address over IP. A Unix socket has permissions of its own: no."""
    if address.pipe:
        return False
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return False


def is_local_name(host: str) -> bool:
    """Whether a Host header holds an address or `localhost`; one that is missing cannot come from a browser."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name.lower() in ("", "localhost") or name.lower().endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
