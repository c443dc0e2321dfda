"""Hosts that requests ask for by address, before the policy of the cluster is asked.

`OverrideHost` is a policy (Envoy: envoy.load_balancing_policies.override_host). The first try goes to the first
address that is a host of the cluster, each retry to the next one; after the last the policy chooses. The health of a
host that is asked for is not looked at, as in Envoy.

`overriding_host` is for filters that choose (Envoy: HostUtility::selectOverrideHost): whatever the policy is, the first
try goes to that host if its health is among `common_lb_config.override_host_status`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pyproxy.clusters.host import Host
from pyproxy.clusters.load_balancers.load_balancer import Choose
from pyproxy.config.load_policy import OverrideSource
from pyproxy.http.message import Request

if TYPE_CHECKING:
    from pyproxy.clusters.cluster import Cluster

_STATE: Final = "envoy.extensions.load_balancing_policies.override_host.filter_state"
"""Where the addresses stand that are left."""


class OverrideHost:
    """`choose` is that of the cluster; `otherwise` that of its fallback policy."""

    __slots__ = ("_hosts", "_otherwise", "_sources")

    def __init__(self, sources: tuple[OverrideSource, ...], hosts: tuple[Host, ...], otherwise: Choose) -> None:
        self._sources = sources
        self._otherwise = otherwise
        self._hosts: dict[str, Host] = {}
        for host in hosts:
            self._hosts.setdefault(host.address, host)

    def choose(self, request: Request) -> Host | None:
        state: Any = request.info.filter_state
        if state is None:
            state = request.info.filter_state = {}
        wanted: list[str] | None = state.get(_STATE)
        if wanted is None:
            wanted = state[_STATE] = self._wanted(request)
        while wanted:
            host = self._hosts.get(wanted.pop(0))
            if host is not None:
                return host
        return self._otherwise(request)

    def _wanted(self, request: Request) -> list[str]:
        """The addresses of all sources, in order."""
        found: list[str] = []
        for source in self._sources:
            text = _said(request, source)
            found += [one for one in (part.strip() for part in text.split(",")) if one]
        return found


def overriding_host(cluster: Cluster, request: Request) -> Host | None:
    """The host that `info.override_host` names, or another one unless `override_strict`."""
    info = request.info
    host = cluster.host_at(info.override_host)
    if host is not None and _health(host) in cluster.config.override_statuses:
        return host
    return None if info.override_strict else cluster.choose(request)


def _health(host: Host) -> str:
    if not host.healthy:
        return "UNHEALTHY"
    return "DEGRADED" if host.degraded else "HEALTHY"


def _said(request: Request, source: OverrideSource) -> str:
    if source.header:
        value = request.headers.get(source.header)
        return "" if value is None else value.decode("latin-1")
    found: Any = (request.info.dynamic_metadata or {}).get(source.namespace)
    for key in source.path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""
