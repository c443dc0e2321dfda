"""The DNS cache of a dynamic forward proxy, as values. The compile functions are in `dns_cache_compile.py`.

Envoy: envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig, and the `sub_clusters_config` of its cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyproxy.config.dns import DnsConfig

Named = tuple[str, int]
"""A host and a port."""

_DNS: Final = DnsConfig(refresh_rate=60.0, respect_ttl=True)


@dataclass(frozen=True, slots=True)
class DnsCacheConfig:
    """Seconds for all times. A name that nobody asked for in `host_ttl` goes; at most `most_hosts` are kept and at most
    `most_pending` requests wait for an answer. `forget_failures`: a name without an address is asked for anew by the
    next request, instead of after a while."""

    name: str
    dns: DnsConfig = _DNS
    least_refresh: float = 5.0
    host_ttl: float = 300.0
    most_hosts: int = 1024
    most_pending: int = 1024
    forget_failures: bool = False
    patience: float = 5.0
    """How long an answer may take."""
    resolved_early: tuple[Named, ...] = ()


@dataclass(frozen=True, slots=True)
class SubClustersConfig:
    """Each name gets a STRICT_DNS cluster of its own, until it was not used for `ttl` seconds."""

    policy: str = "ROUND_ROBIN"
    most: int = 1024
    ttl: float = 300.0
    patience: float = 5.0
    """How long a request waits for the hosts of a new one."""
    made_early: tuple[Named, ...] = ()
