"""A listener as a value (envoy.config.listener.v3.Listener). `listeners.listener` builds the live one.

The compile functions are in `config.listener_compile`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pyproxy.config.access_log import AccessLogConfig
from pyproxy.config.address import AddressConfig
from pyproxy.config.config_source import ConfigSourceConfig
from pyproxy.config.discovered import DiscoveredConfig
from pyproxy.config.filter_chain_match import ANYTHING, FilterChainMatch
from pyproxy.config.scoped_routes import ScopedRoutesConfig
from pyproxy.config.socket_option import SocketOption
from pyproxy.config.tls import DownstreamTlsConfig, SecretRef
from pyproxy.config.unified_matcher import Matcher

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FilterConfig:
    """A filter by the name it was given and its Envoy type name, with its compiled value.

    `config` is what the filter module's `compile(view, context)` returned: frozen, comparable, with `build(runtime)`.
    """

    name: str
    type_name: str
    config: Any
    disabled: bool = False
    """An HTTP filter that takes part only where a route says so."""


@dataclass(frozen=True, slots=True)
class FilterChainConfig:
    """One filter chain. `tls` None means plain text; the match of a default chain means nothing."""

    name: str = ""
    filters: tuple[FilterConfig, ...] = ()
    tls: DownstreamTlsConfig | None = None
    handshake_seconds: float = 10.0
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    match: FilterChainMatch = ANYTHING


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """Seconds for all times; bytes for all sizes."""

    name: str
    addresses: tuple[AddressConfig, ...]
    filter_chains: tuple[FilterChainConfig, ...] = ()
    default_filter_chain: FilterChainConfig | None = None
    chain_matcher: Matcher | None = None
    """Chooses a chain by its name, in place of what the chains match."""
    stat_prefix: str = ""
    buffer_limit: int = 1024 * 1024
    backlog: int = 0
    """0 means the system's default."""
    reuse_port: bool = True
    transparent: bool = False
    freebind: bool = False
    tcp_keepalive: tuple[int, int, int] | None = None
    traffic_direction: str = "UNSPECIFIED"
    internal: bool = False
    """It has no sockets: clusters of this process connect to it by its name (Envoy: internal_listener)."""
    bind: bool = True
    """False: it takes only connections that another listener hands over (Envoy: use_original_dst)."""
    use_original_dst: bool = False
    listener_filters: tuple[FilterConfig, ...] = ()
    socket_options: tuple[tuple[SocketOption, ...], ...] = ()
    """For each of the addresses."""
    access_logs: tuple[AccessLogConfig, ...] = ()
    """One entry for each connection, at its end."""
    ignores_global_limit: bool = False
    accepts_at_once: int = 0
    """Connections that are taken in one turn of the loop; 0 for the usual number."""
    filters_timeout: float = 15.0
    continue_on_timeout: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def options_at(self, position: int) -> tuple[SocketOption, ...]:
        """Of the socket of one of the addresses."""
        return self.socket_options[position] if self.socket_options else ()

    def options_of(self, key: str) -> tuple[SocketOption, ...]:
        """Of one of `socket_keys`."""
        return self.options_at(self.socket_keys.index(key)) if self.socket_options else ()

    @property
    def socket_keys(self) -> tuple[str, ...]:
        """The names of its listen sockets. They go with the address, so a port can move to another listener."""
        if not self.bind or self.internal:
            return ()
        return tuple(
            str(address) if address.pipe or address.port else f"{self.name}#{at} {address}"
            for at, address in enumerate(self.addresses)
        )

    @property
    def chains(self) -> tuple[FilterChainConfig, ...]:
        """All filter chains, the default one last."""
        default = self.default_filter_chain
        return self.filter_chains if default is None else (*self.filter_chains, default)

    @property
    def routes_elsewhere(self) -> tuple[tuple[ConfigSourceConfig, str], ...]:
        """Sources and names of the route tables that its connection managers get by RDS."""
        return tuple(where for _, where in self.managers_elsewhere)

    @property
    def scopes_elsewhere(self) -> tuple[tuple[str, ScopedRoutesConfig], ...]:
        """Scoped routes of its connection managers that come from elsewhere (SRDS), with stat prefixes."""
        managers = (one.config for chain in self.chains for one in chain.filters if getattr(one.config, "scoped", None))
        return tuple((one.stat_prefix, one.scoped) for one in managers if one.scoped.source is not None)

    @property
    def filters_elsewhere(self) -> tuple[DiscoveredConfig, ...]:
        """Filters of all kinds of which the configuration comes from elsewhere (ECDS)."""
        network = tuple(one for chain in self.chains for one in chain.filters)
        http = (one for manager in network for one in getattr(manager.config, "filters", ()))
        found = (one.config for one in (*self.listener_filters, *network, *http))
        return tuple(config for config in found if isinstance(config, DiscoveredConfig))

    @property
    def secrets_elsewhere(self) -> tuple[SecretRef, ...]:
        """Certificates and the like that its filter chains get by SDS."""
        sources = (chain.tls.source for chain in self.chains if chain.tls is not None)
        return tuple(ref for source in sources if source is not None for ref in source.secrets)

    @property
    def managers_elsewhere(self) -> tuple[tuple[str, tuple[ConfigSourceConfig, str]], ...]:
        """The same, each with the stat prefix of its connection manager."""
        managers = (one.config for chain in self.chains for one in chain.filters if getattr(one.config, "rds", None))
        return tuple((one.stat_prefix, (one.rds.source, one.rds.route_config_name)) for one in managers)
