"""Where connections to upstreams come from: values and how they are compiled (envoy.config.core.v3.BindConfig)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from pyproxy.config.socket_option import SocketOption, compile_socket_options
from pyproxy.config.view import View

_SELECTOR: Final = "envoy.config.upstream.local_address_selector.v3.DefaultLocalAddressSelector"


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """One local address; an empty host lets the system choose. `freebind`: it need not be ours (ip(7): IP_FREEBIND)."""

    host: str = ""
    port: int = 0
    freebind: bool = False
    options: tuple[SocketOption, ...] = ()

    @property
    def version(self) -> int:
        """4 or 6; 0 where there is no address."""
        return ipaddress.ip_address(self.host).version if self.host else 0


@dataclass(frozen=True, slots=True)
class BindConfig:
    """The first source of the family of the host is taken, else the first of all."""

    sources: tuple[SourceConfig, ...]

    def source_for(self, host: str) -> SourceConfig:
        """For an address to connect to."""
        version = 6 if ":" in host else 4
        return next((one for one in self.sources if one.version == version), self.sources[0])


def compile_bind(owner: View, field: str = "upstream_bind_config") -> BindConfig | None:
    """Of a cluster, or of the cluster manager for those that say nothing; None where nothing is said."""
    view = owner.child(field)
    if view is None:
        return None
    selector = view.child("local_address_selector")
    if selector is not None:
        selector.ignore("name")
        typed = selector.any("typed_config")
        if typed is None or typed.type_name != _SELECTOR:
            kind = typed.type_name if typed is not None else "nothing"
            selector.fail("typed_config", f"{kind} does not choose local addresses here", expected=_SELECTOR)
    freebind, options = bool(view.wrapped("freebind")), compile_socket_options(view)
    first = view.child("source_address")
    more = view.children("extra_source_addresses")
    older = view.children("additional_source_addresses")
    if more and older:
        view.fail("additional_source_addresses", "is set beside extra_source_addresses", expected="one of them")
    if first is None and (more or older):
        view.fail("source_address", "is required where there are others", expected="an address")
    host, port = ("", 0) if first is None else _address(first)
    sources = [SourceConfig(host, port, freebind, options)]
    for extra in more:
        own = extra.child("socket_options")
        host, port = _address(extra.need("address"))
        said = options if own is None else compile_socket_options(own)
        sources.append(SourceConfig(host, port, freebind, said))
    sources += [SourceConfig(*_address(one), freebind, options) for one in older]
    if len(sources) > 2 or (len(sources) == 2 and sources[0].version == sources[1].version):
        view.fail("", "has more than one address of a family", expected="one of IPv4, one of IPv6")
    return BindConfig(tuple(sources))


def _address(view: View) -> tuple[str, int]:
    """A `SocketAddress`."""
    host = view.text("address")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        view.fail("address", f"{host!r} is no IP address", expected="an address of this machine")
    return host, int(view.scalar("port_value"))
