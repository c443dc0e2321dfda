"""Compiles what is said of DNS, by clusters, DNS caches and the bootstrap: protobuf -> `config.dns` values."""

from __future__ import annotations

from typing import Final

from pyproxy.config.address import compile_address
from pyproxy.config.dns import CaresConfig, DnsConfig, ResolverConfig, SystemResolverConfig
from pyproxy.config.view import View

GETADDRINFO: Final = "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig"
CARES: Final = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"

_DEFAULT_REFRESH: Final = 5.0
_DNS_PORT: Final = 53


def compile_dns(view: View, *, refresh_rate: float = _DEFAULT_REFRESH, family: str = "") -> DnsConfig:
    """The `dns_*` fields of a Cluster, a DnsCluster or a DnsCacheConfig, as far as they are alike."""
    rate = view.seconds("dns_refresh_rate")
    return DnsConfig(
        lookup_family=family or view.enum("dns_lookup_family"),
        refresh_rate=refresh_rate if rate is None else rate,
        failure_refresh_rate=_failure_rate(view.child("dns_failure_refresh_rate")),
        respect_ttl=_knows(view, "respect_dns_ttl") and bool(view.scalar("respect_dns_ttl")),
        jitter=(view.seconds("dns_jitter") or 0.0) if _knows(view, "dns_jitter") else 0.0,
        resolver=compile_resolver(view),
    )


def compile_resolver(view: View) -> ResolverConfig | None:
    """Who is asked; None where nothing is said. `typed_dns_resolver_config` goes before what is older (Envoy).

    A resolver that is not known here stays unread, and so is listed: the one that is used otherwise takes its place.
    """
    if view.has("typed_dns_resolver_config"):
        if _knows(view, "dns_resolution_config"):
            view.ignore("dns_resolution_config")
        return _typed(view)
    if not _knows(view, "dns_resolution_config"):
        return None
    older = view.child("dns_resolution_config")
    if older is not None:
        return CaresConfig(servers=_servers(older), **_options(older))
    tcp = bool(view.scalar("use_tcp_for_dns_lookups"))
    return CaresConfig(tcp=True) if tcp else None


def _knows(view: View, name: str) -> bool:
    """Whether there is such a field in this kind of message."""
    return name in view.message.DESCRIPTOR.fields_by_name


def _failure_rate(view: View | None) -> tuple[float, float]:
    if view is None:
        return (0.0, 0.0)
    first, chosen = view.seconds("base_interval") or 0.0, view.seconds("max_interval")
    most = 10 * first if chosen is None else chosen
    if most < first:
        view.fail("max_interval", f"{most:g}s is less than base_interval", expected=f"at least {first:g}s")
    return (first, most)


def _typed(view: View) -> ResolverConfig | None:
    extension = view.message.typed_dns_resolver_config  # type: ignore[attr-defined]
    kind = extension.typed_config.type_url.rpartition("/")[2]
    if kind not in (GETADDRINFO, CARES):
        return None
    chosen = view.need("typed_dns_resolver_config")
    chosen.ignore("name")
    typed = chosen.any("typed_config")
    assert typed is not None
    return _cares(typed) if kind == CARES else _system(typed)


def _system(view: View) -> SystemResolverConfig:
    return SystemResolverConfig(view.wrapped("num_retries") or 0, view.wrapped("num_resolver_threads") or 0)


def _cares(view: View) -> CaresConfig:
    return CaresConfig(
        servers=_servers(view),
        fallback=bool(view.scalar("use_resolvers_as_fallback")),
        timeout=float(view.wrapped("query_timeout_seconds") or 0),
        tries=view.wrapped("query_tries") or 0,
        rotate=bool(view.scalar("rotate_nameservers")),
        lifetime=view.seconds("max_udp_channel_duration") or 0.0,
        renew_on_timeout=bool(view.scalar("reinit_channel_on_timeout")),
        routable=bool(view.scalar("filter_unroutable_families")),
        **_options(view),
    )


def _options(view: View) -> dict[str, bool]:
    options = view.child("dns_resolver_options")
    if options is None:
        return {}
    return {
        "tcp": bool(options.scalar("use_tcp_for_dns_lookups")),
        "search": not options.scalar("no_default_search_domain"),
    }


def _servers(view: View) -> tuple[str, ...]:
    return view.each("resolvers", _server)


def _server(view: View) -> str:
    """DNS is asked over UDP, but the address of a server says TCP where nothing is said."""
    if view.oneof("address") == "socket_address" and view.need("socket_address").enum("protocol") == "UDP":
        socket = view.need("socket_address")
        host, port = socket.text("address"), int(socket.scalar("port_value"))
    else:
        address = compile_address(view)
        if address.pipe:
            view.fail("pipe", "a DNS server has no path", expected="socket_address")
        host, port = address.host, address.port
    port = port or _DNS_PORT
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
