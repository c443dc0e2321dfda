"""Compiles the TCP proxy: protobuf -> `TcpProxyConfig`."""

from __future__ import annotations

from typing import Final

from pyproxy.config.access_log_compile import compile_access_logs
from pyproxy.config.config_source import OnDemandClustersConfig
from pyproxy.config.config_source_compile import compile_on_demand_clusters
from pyproxy.config.extensions import CompileContext
from pyproxy.config.format import parse_header_format
from pyproxy.config.format_compile import parsed
from pyproxy.config.header_compile import compile_header_add
from pyproxy.config.subset import NO_CRITERIA, Criteria, compile_criteria, merged
from pyproxy.config.view import View
from pyproxy.filters.network.tcp_proxy.config import TcpProxyConfig, TunnelConfig

_IDLE_SECONDS: Final = 3600.0
_ON_DEMAND_SECONDS: Final = 60.0


def compile(view: View, context: CompileContext) -> TcpProxyConfig:  # noqa: A001 (the name that every filter has)
    """A `TcpProxy`."""
    tunnel = view.child("tunneling_config")
    on_demand = view.child("on_demand")
    idle, duration = view.seconds("idle_timeout"), view.seconds("max_downstream_connection_duration")
    attempts = view.wrapped("max_connect_attempts")
    log_on_connected = bool(view.scalar("flush_access_log_on_connected"))
    options = view.child("access_log_options")
    if options is not None:
        if view.has("access_log_flush_interval") or log_on_connected:
            view.fail("access_log_options", "is set beside the deprecated fields", expected="access_log_options alone")
        log_on_connected = bool(options.scalar("flush_access_log_on_connected"))
    interval = (options or view).seconds("access_log_flush_interval")
    return TcpProxyConfig(
        stat_prefix=view.text("stat_prefix"),
        clusters=_clusters(view, context),
        idle_timeout=_IDLE_SECONDS if idle is None else idle,
        max_connect_attempts=1 if attempts is None else attempts,
        max_connection_duration=duration or 0.0,
        access_logs=compile_access_logs(view, context),
        log_on_connected=log_on_connected,
        log_interval=interval or 0.0,
        tunnel=None if tunnel is None else _tunnel(tunnel),
        subset=compile_criteria(view) or NO_CRITERIA,
        subsets=_subsets(view),
        on_demand=None if on_demand is None else _on_demand(on_demand, context),
        hash_source=any(view.each("hash_policy", _by_source)),
        hash_state=next(filter(None, view.each("hash_policy", _by_state)), ""),
    )


def _tunnel(view: View) -> TunnelConfig:
    """A `TunnelingConfig`."""
    hostname = view.text("hostname")
    path = view.text("post_path")
    post = bool(view.scalar("use_post"))
    if path and not post:
        view.fail("post_path", "is set without use_post", expected="use_post: true")
    return TunnelConfig(
        hostname=parsed(view, "hostname", lambda: parse_header_format(hostname)),
        post_path=(path or "/").encode() if post else b"",
        headers=view.each("headers_to_add", compile_header_add),
    )


def _on_demand(view: View, context: CompileContext) -> OnDemandClustersConfig | None:
    """An `OnDemand`; without a source nobody is asked."""
    if not view.has("odcds_config"):
        return None
    return compile_on_demand_clusters(view, context, source_name="odcds_config", seconds=_ON_DEMAND_SECONDS)


def _by_source(view: View) -> bool:
    return view.child("source_ip") is not None


def _by_state(view: View) -> str:
    state = view.child("filter_state")
    return "" if state is None else state.text("key")


def _subsets(view: View) -> tuple[Criteria, ...]:
    """What a weighted cluster says goes before what the proxy says."""
    split = view.child("weighted_clusters")
    if split is None:
        return ()
    own = split.each("clusters", compile_criteria)
    return tuple(merged(compile_criteria(view), one) for one in own) if any(own) else ()


def _clusters(view: View, context: CompileContext) -> tuple[tuple[str, int], ...]:
    """That the clusters exist is not demanded: a connection to one that does not is closed (Envoy)."""
    del context
    if view.oneof("cluster_specifier") == "cluster":
        return ((view.text("cluster"), 1),)
    split = view.child("weighted_clusters")
    if split is None:
        view.fail("cluster", "is required", expected="the name of a cluster, or weighted_clusters")
    return split.each("clusters", lambda one: (one.text("name"), int(one.scalar("weight"))))
