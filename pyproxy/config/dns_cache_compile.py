"""Compiles the DNS cache of a dynamic forward proxy, and its sub-clusters: protobuf -> `config.dns_cache` values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from pyproxy.config.dns_cache import DnsCacheConfig, Named, SubClustersConfig
from pyproxy.config.dns_compile import compile_dns
from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View

_REFRESH: Final = 60.0
_POLICIES: Final = ("ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV")


def compile_dns_cache(view: View, context: CompileContext) -> DnsCacheConfig:
    """A `DnsCacheConfig`. Those of one name have to be the same."""
    name = view.text("name")
    breaker = view.child("dns_cache_circuit_breaker")
    chosen = {
        "least_refresh": view.seconds("dns_min_refresh_rate"),
        "host_ttl": view.seconds("host_ttl"),
        "most_hosts": view.wrapped("max_hosts"),
        "most_pending": None if breaker is None else breaker.wrapped("max_pending_requests"),
        "patience": view.seconds("dns_query_timeout"),
    }
    made = DnsCacheConfig(
        name=name,
        dns=replace(compile_dns(view, refresh_rate=_REFRESH), respect_ttl=True),
        forget_failures=bool(view.scalar("disable_dns_refresh_on_failure")),
        resolved_early=view.each("preresolve_hostnames", _named),
        **_said(chosen),
    )
    if context.clusters is not None and context.dns_caches.setdefault(name, made) != made:
        view.fail("", f"the DNS cache {name!r} is configured otherwise elsewhere", expected="the same everywhere")
    return made


def compile_sub_clusters(view: View) -> SubClustersConfig:
    """A `SubClustersConfig`."""
    policy = view.enum("lb_policy")
    if policy not in _POLICIES:
        view.fail("lb_policy", f"{policy} does not balance the addresses of a name", expected=", ".join(_POLICIES))
    chosen = {"most": view.wrapped("max_sub_clusters"), "ttl": view.seconds("sub_cluster_ttl")}
    return SubClustersConfig(policy=policy, made_early=view.each("preresolve_clusters", _named), **_said(chosen))


def _said(chosen: dict[str, Any]) -> dict[str, Any]:
    """Without what is left to the defaults."""
    return {name: value for name, value in chosen.items() if value is not None}


def _named(view: View) -> Named:
    """A `SocketAddress`."""
    return view.text("address").lower(), int(view.scalar("port_value"))
