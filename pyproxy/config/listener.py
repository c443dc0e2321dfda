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
from pyproxy.config.filter_chain_match import ANYTHING, FilterChainMatch
from pyproxy.config.socket_option import SocketOption
from pyproxy.config.tls import DownstreamTlsConfig
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
