"""A route table: from a request to its route. Pure: no sockets, no clock; chance is passed in.

Envoy looks at one route after the other; here the cost hardly grows with the table, and the first match still wins.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from pyproxy.config.route import RouteTableConfig
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.http.message import Request
from pyproxy.http.predicates import PSEUDO
from pyproxy.routes.domains import Domains, without_port
from pyproxy.routes.levels import TableContext
from pyproxy.routes.path_cache import PathCache
from pyproxy.routes.route import Route
from pyproxy.routes.virtual_host import Candidates, VirtualHost

_LARGE: Final = 256
"""With so many routes a virtual host is made ready with its table: 10,000 take some 40 ms, which no request should."""

_MAX_HOSTS: Final = 1024
_MAX_HOST: Final = 255
"""Authorities that are remembered, and the longest of them: whoever sends requests chooses them (RFC 1035 2.3.4)."""


class RouteTable:
    """One route configuration. A new configuration is a new table; requests keep the one that they started with."""

    __slots__ = ("_catch_all", "_domains", "_hosts", "_read_host", "_without_port", "config", "virtual_hosts")

    def __init__(
        self,
        config: RouteTableConfig,
        values: RuntimeValues,
        rng: Random,
        cluster_exists: Callable[[str], bool],
        *,
        suppress_envoy_headers: bool = False,
    ) -> None:
        self.config = config
        table = TableContext(config, values, rng, cluster_exists, tell_originals=not suppress_envoy_headers)
        paths: PathCache[Candidates] = PathCache()
        self.virtual_hosts = [VirtualHost(one, table, paths) for one in config.virtual_hosts]
        for host in self.virtual_hosts:
            if len(host.config.routes) >= _LARGE:
                host.prepare()
        self._domains = Domains((domain, host) for host in self.virtual_hosts for domain in host.config.domains)
        self._without_port = config.ignore_port
        self._read_host = _host_reader(config.vhost_header)
        self._catch_all = self._domains.catch_all if self._read_host is None else None
        self._hosts: dict[bytes, VirtualHost] = {}

    @property
    def internal_only_headers(self) -> tuple[bytes, ...]:
        """Headers that only requests from inside may carry; the connection manager takes them from others."""
        return self.config.internal_only_headers

    def match(self, request: Request) -> Route | None:
        """The first route that fits, or None."""
        host = self._catch_all or self._hosts.get(request.authority) or self._find_host(request)
        if host is None:
            return None
        if host.redirect is not None:
            redirect = host.redirect(request)
            if redirect is not None:
                return redirect
        path = request.path
        query = path.find(b"?")  # `in` is dearer for bytes
        if query >= 0:
            path = path[:query]
        found = host.cache.get(path)
        if found is None:
            found = host.find(path)
        for condition, route in found:
            if condition is None or condition(request):
                return route
        return None

    def _find_host(self, request: Request) -> VirtualHost | None:
        if self._read_host is not None:
            named = self._read_host(request)
            return None if named is None else self._look_up(named)
        authority = request.authority
        host = self._look_up(authority)
        if host is not None and len(authority) <= _MAX_HOST:
            if len(self._hosts) >= _MAX_HOSTS:
                self._hosts.clear()
            self._hosts[authority] = host
        return host

    def _look_up(self, authority: bytes) -> VirtualHost | None:
        return self._domains.find(without_port(authority) if self._without_port else authority)

    def __repr__(self) -> str:
        return f"<RouteTable {self.config.name!r}, {len(self.virtual_hosts)} virtual hosts>"


def _host_reader(header: bytes) -> Callable[[Request], bytes | None] | None:
    """What takes the place of the authority (RouteConfiguration.vhost_header); None if nothing does."""
    if not header:
        return None
    return PSEUDO.get(header) or (lambda request: request.headers.get(header))
