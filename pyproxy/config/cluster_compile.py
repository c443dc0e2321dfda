"""Compiles clusters: protobuf -> `config.cluster` values. Envoy: envoy.config.cluster.v3.Cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from pyproxy.config.bind import compile_bind
from pyproxy.config.cluster import (
    ClusterConfig,
    DiscoveryType,
    EndpointConfig,
    LbPolicy,
    Thresholds,
    UpstreamHttpOptions,
    UpstreamProtocol,
)
from pyproxy.config.endpoint_compile import compile_endpoints, compile_spread
from pyproxy.config.extensions import CompileContext
from pyproxy.config.health_check import compile_health_checks
from pyproxy.config.keepalive_compile import Keepalive, compile_keepalive
from pyproxy.config.load_balancer_compile import compile_load_balancer
from pyproxy.config.metadata import compile_metadata
from pyproxy.config.outlier import compile_outlier
from pyproxy.config.parts import part
from pyproxy.config.resolver_compile import PROVIDES, Resolving, compile_resolving
from pyproxy.config.subset import compile_subsets
from pyproxy.config.transport_socket import PLAIN, compile_socket_matches, compile_upstream_socket
from pyproxy.config.upstream_http_compile import DEFAULTS, OPTIONS, compile_upstream_http
from pyproxy.config.view import View

_DEFAULT_BUFFER: Final = 1024 * 1024
_DEFAULT_CONNECT: Final = 5.0
_PANIC_THRESHOLD: Final = 50.0
_CLEANUP_SECONDS: Final = 5.0
_BUDGET_PERCENT: Final = 20.0
_LEAST_RETRIES: Final = 3

_HTTP_POOLS: Final = (
    "envoy.extensions.upstreams.http.generic.v3.GenericConnectionPoolProto",
    "envoy.extensions.upstreams.http.http.v3.HttpConnectionPoolProto",
)
_DEFAULT_THRESHOLDS: Final = (Thresholds(), Thresholds())
_PRIORITIES: Final = ("DEFAULT", "HIGH")


def compile_cluster(view: View, context: CompileContext) -> ClusterConfig:
    """A `Cluster`. Faults in one part do not hide those in the others."""
    report = view.report
    tls, header, passed = part(report, PLAIN, lambda: compile_upstream_socket(view))
    balancer = part(report, None, lambda: compile_load_balancer(view))
    http = part(report, DEFAULTS, lambda: compile_upstream_http(view))
    resolving = part(report, None, lambda: compile_resolving(view, context))
    connect, buffer = view.seconds("connect_timeout"), view.wrapped("per_connection_buffer_limit_bytes")
    view.ignore("wait_for_warm_on_init")
    cleanup = view.seconds("cleanup_interval")
    # A host that is not a member any more is not kept, whatever its health.
    view.ignore("ignore_health_on_host_removal")
    part(report, None, lambda: _check_pool(view))
    part(report, None, lambda: _check_grpc(view, http))
    found = resolving or Resolving(DiscoveryType.STATIC)
    provided = (balancer or {}).get("lb_policy") is LbPolicy.CLUSTER_PROVIDED
    if balancer is not None and resolving is not None and provided != (found.discovery in PROVIDES):
        kinds = ", ".join(sorted(kind.value for kind in PROVIDES))
        report.add((*view.path, "lb_policy"), f"CLUSTER_PROVIDED is for clusters that choose themselves ({kinds})")
    if found.discovery is DiscoveryType.DYNAMIC and tls is not None and not found.insecure:
        http = part(report, http, lambda: _checks_names(view, http))
    return ClusterConfig(
        name=view.text("name"),
        discovery=found.discovery,
        endpoints=_endpoints(view, resolving),
        **_spread(view),
        **_common(view),
        eds=found.eds,
        connect_timeout=_DEFAULT_CONNECT if connect is None else connect,
        buffer_limit=_DEFAULT_BUFFER if buffer is None else buffer,
        thresholds=_thresholds(view),
        per_host_connections=part(report, 0, lambda: _per_host(view)),
        http=http,
        alt_stat_name=view.text("alt_stat_name"),
        dns=found.dns,
        members=found.members,
        dns_cache=found.dns_cache,
        sub_clusters=found.sub_clusters,
        original_dst_header=found.original_dst_header,
        original_dst_port=found.original_dst_port,
        cleanup_interval=cleanup or _CLEANUP_SECONDS,
        happy_eyeballs=_happy_eyeballs(view),
        preconnect_ratio=_preconnect(view),
        bind=part(report, None, lambda: compile_bind(view)) or context.bind,
        tcp_keepalive=_keepalive(view),
        tls=tls,
        proxy_header=header,
        passed=passed,
        tls_matches=part(report, (), lambda: compile_socket_matches(view)),
        panic_threshold=_panic_threshold(view),
        subsets=part(report, None, lambda: compile_subsets(view)),
        health_checks=part(report, (), lambda: compile_health_checks(view)),
        close_on_failure=bool(view.scalar("close_connections_on_host_health_failure")),
        outlier=part(report, None, lambda: compile_outlier(view)),
        metadata=compile_metadata(view),
        **(balancer or {}),
    )


def _checks_names(view: View, http: UpstreamHttpOptions) -> UpstreamHttpOptions:
    """Of a cluster whose hosts requests choose: they have to be who they are taken for (Envoy)."""
    options = view.message.typed_extension_protocol_options  # type: ignore[attr-defined]
    if OPTIONS in options and not (http.auto_sni and http.auto_san_validation):
        view.fail(
            "typed_extension_protocol_options",
            "a dynamic forward proxy over TLS checks its hosts",
            expected="auto_sni and auto_san_validation, or allow_insecure_cluster_options",
        )
    return replace(http, auto_sni=True, auto_san_validation=True)


def _endpoints(view: View, resolving: Resolving | None) -> tuple[EndpointConfig, ...]:
    """The hosts. What is wrong with them is not looked for where the kind of cluster is not known."""
    assignment = view.child("load_assignment")
    if assignment is None or resolving is None:
        if resolving is not None and resolving.discovery is DiscoveryType.LOGICAL_DNS:
            view.report.add((*view.path, "load_assignment"), "is required: a LOGICAL_DNS cluster has exactly one host")
        return ()
    before = len(view.report.faults)
    endpoints = compile_endpoints(assignment, names=resolving.discovery is not DiscoveryType.STATIC)
    faulty = len(view.report.faults) > before
    if resolving.discovery is DiscoveryType.LOGICAL_DNS and len(endpoints) != 1 and not faulty:
        reason = f"holds {len(endpoints)} hosts, and a LOGICAL_DNS cluster has exactly one"
        view.report.add((*assignment.path, "endpoints"), reason)
    return endpoints


def _spread(view: View) -> dict[str, Any]:
    assignment = view.child("load_assignment")
    return {} if assignment is None else compile_spread(assignment)


def _thresholds(view: View) -> tuple[Thresholds, Thresholds]:
    """For the default and the high priority; the first entry for a priority counts (as in Envoy)."""
    breakers = view.child("circuit_breakers")
    if breakers is None:
        return _DEFAULT_THRESHOLDS
    found: dict[str, Thresholds] = {}
    for entry in breakers.children("thresholds"):
        found.setdefault(entry.enum("priority"), _threshold(entry))
    default, high = (found.get(priority, _DEFAULT_THRESHOLDS[0]) for priority in _PRIORITIES)
    return default, high


def _per_host(view: View) -> int:
    """Envoy honours `max_connections` of these alone, and refuses the others; and only those of the default priority
    are looked at here, as all requests share them."""
    breakers = view.child("circuit_breakers")
    if breakers is None:
        return 0
    for entry in breakers.children("per_host_thresholds"):
        for name in ("max_pending_requests", "max_requests", "max_retries", "retry_budget", "max_connection_pools"):
            if entry.has(name):
                entry.fail(name, "is not for one host", expected="max_connections")
        if entry.enum("priority") == "DEFAULT":
            return entry.wrapped("max_connections") or 0
    return 0


def _threshold(view: View) -> Thresholds:
    limits = {
        name: view.wrapped(name) for name in ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    }
    # Connection pools are one for each host here and never too many.
    view.ignore("max_connection_pools")
    chosen = {name: limit for name, limit in limits.items() if limit is not None}
    budget = _retry_budget(view.child("retry_budget"))
    return Thresholds(
        **chosen,
        retry_budget=budget,
        own_retry_limits=budget is None and "max_retries" not in chosen,
        track_remaining=bool(view.scalar("track_remaining")),
    )


def _retry_budget(view: View | None) -> tuple[float, int] | None:
    if view is None:
        return None
    percent, least = view.child("budget_percent"), view.wrapped("min_retry_concurrency")
    return (
        _BUDGET_PERCENT if percent is None else float(percent.scalar("value"))
    ), _LEAST_RETRIES if least is None else least


def _check_pool(view: View) -> None:
    """The pools that Envoy takes where nothing is said are what we do; another one stays unread, and so is listed."""
    url: str = view.message.upstream_config.typed_config.type_url  # type: ignore[attr-defined]
    if url.rpartition("/")[2] in _HTTP_POOLS:
        view.ignore("upstream_config")


def _check_grpc(view: View, http: UpstreamHttpOptions) -> None:
    first = view.message.health_checks[:1]  # type: ignore[attr-defined]
    if http.protocol is UpstreamProtocol.HTTP1 and any(one.HasField("grpc_health_check") for one in first):
        reason = "gRPC health checks need HTTP/2, and the cluster speaks HTTP/1"
        view.fail("health_checks", reason, expected="http2_protocol_options in typed_extension_protocol_options")


def _keepalive(view: View) -> Keepalive | None:
    options = view.child("upstream_connection_options")
    return None if options is None else compile_keepalive(options)


_STATUSES: Final = {
    "UNKNOWN": "HEALTHY",
    "HEALTHY": "HEALTHY",
    "DEGRADED": "DEGRADED",
    "UNHEALTHY": "UNHEALTHY",
    "DRAINING": "UNHEALTHY",
    "TIMEOUT": "UNHEALTHY",
}


def _common(view: View) -> dict[str, Any]:
    """What `common_lb_config` says of the health of hosts."""
    common = view.child("common_lb_config")
    if common is None:
        return {}
    chosen: dict[str, Any] = {"ignore_new_hosts": bool(common.scalar("ignore_new_hosts_until_first_hc"))}
    statuses = common.child("override_host_status")
    if statuses is not None:
        chosen["override_statuses"] = frozenset(_STATUSES[status] for status in statuses.enums("statuses"))
    return chosen


def _happy_eyeballs(view: View) -> tuple[int, int]:
    """Which family is tried first, and how many of it."""
    options = view.child("upstream_connection_options")
    said = None if options is None else options.child("happy_eyeballs_config")
    if said is None:
        return (0, 1)
    version = {"V4": 4, "V6": 6}.get(said.enum("first_address_family_version"), 0)
    return version, said.wrapped("first_address_family_count") or 1


def _preconnect(view: View) -> float:
    """For each host. What is said of hosts that may be chosen next stays unread, and so is listed."""
    policy = view.child("preconnect_policy")
    ratio = None if policy is None else policy.wrapped("per_upstream_preconnect_ratio")
    return 1.0 if ratio is None else float(ratio)


def _panic_threshold(view: View) -> float:
    common = view.child("common_lb_config")
    if common is None:
        return _PANIC_THRESHOLD
    common.ignore("update_merge_window", "consistent_hashing_lb_config")
    percent = common.child("healthy_panic_threshold")
    return _PANIC_THRESHOLD if percent is None else float(percent.scalar("value"))
