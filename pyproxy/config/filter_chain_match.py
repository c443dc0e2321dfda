"""Which connections a filter chain takes (envoy.config.listener.v3.FilterChainMatch), as a value."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from pyproxy.config.view import View

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class FilterChainMatch:
    """An empty criterion takes everything. Server names are lower case; `*.a.b` is kept as `.a.b`, `*` is refused,
    and the empty name takes what names no server."""

    destination_port: int = 0
    prefix_ranges: tuple[Network, ...] = ()
    server_names: tuple[str, ...] = ()
    transport_protocol: str = ""
    application_protocols: tuple[str, ...] = ()
    direct_source_prefix_ranges: tuple[Network, ...] = ()
    source_type: str = "ANY"
    source_prefix_ranges: tuple[Network, ...] = ()
    source_ports: tuple[int, ...] = ()


ANYTHING: Final = FilterChainMatch()


def compile_filter_chain_match(view: View | None) -> FilterChainMatch:
    """A `FilterChainMatch`, or what takes every connection where there is none."""
    if view is None:
        return ANYTHING
    if view.text("address_suffix") or view.wrapped("suffix_len"):
        view.fail("address_suffix", "is not implemented (in Envoy neither)", expected="prefix_ranges")
    return FilterChainMatch(
        destination_port=view.wrapped("destination_port") or 0,
        prefix_ranges=_networks(view, "prefix_ranges"),
        server_names=_server_names(view),
        transport_protocol=view.text("transport_protocol"),
        application_protocols=tuple(str(one) for one in view.scalars("application_protocols")),
        direct_source_prefix_ranges=_networks(view, "direct_source_prefix_ranges"),
        source_type=view.enum("source_type"),
        source_prefix_ranges=_networks(view, "source_prefix_ranges"),
        source_ports=tuple(int(port) for port in view.scalars("source_ports")),
    )


def _networks(view: View, name: str) -> tuple[Network, ...]:
    return view.each(name, _network)


def _network(view: View) -> Network:
    address, length = view.text("address_prefix"), view.wrapped("prefix_len") or 0
    try:
        return ipaddress.ip_network(f"{address}/{length}", strict=False)
    except ValueError:
        view.fail("", f"{address}/{length} is no range of addresses", expected="an IP address and a prefix length")


def _server_names(view: View) -> tuple[str, ...]:
    names = []
    for at, name in enumerate(str(one).lower() for one in view.scalars("server_names")):
        rest = name.removeprefix("*.")
        if "*" in rest or (name and not rest):
            path = (*view.path, "server_names", at)
            view.report.add(path, f"{name!r} has its wildcard in a place where none may be", expected="*.example.com")
        names.append(f".{rest}" if rest != name else name)
    return tuple(names)
