"""Which fields of a configuration are known and not honoured, and how bad that is.

What is not honoured is what no compiler read (`View.unread`). A field is severe unless it stands here: leaving out
statistics, tracing, hints and limits of Envoy's own machinery changes neither traffic nor security.
"""

from __future__ import annotations

from pyproxy.config.invalid import Unhonoured
from pyproxy.config.view import View

_HARMLESS_ANYWHERE = frozenset(("stat_prefix", "alt_stat_name", "stats_prefix"))

_HARMLESS_TYPES = (
    "envoy.config.core.v3.Node.",
    "envoy.config.core.v3.Metadata.",
    "envoy.config.metrics.v3.",
    "envoy.config.trace.v3.",
    "envoy.config.bootstrap.v3.Watchdog",
    "envoy.config.bootstrap.v3.MemoryAllocatorManager.",
    "envoy.config.route.v3.Decorator.",
    "envoy.config.route.v3.Tracing.",
    "envoy.config.route.v3.VirtualCluster.",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing.",
)

_HARMLESS: frozenset[str] = frozenset(
    f"envoy.{owner}.{name}"
    for owner, names in {
        "config.bootstrap.v3.Bootstrap": """
            application_log_config default_regex_engine deferred_stat_options enable_dispatcher_stats
            enable_worker_cpu_affinity fatal_actions flags_path grpc_async_client_manager_config inline_headers
            memory_allocator_manager node perf_tracing_file_path stats_config stats_flush_interval
            stats_flush_on_admin stats_server_version_override stats_sinks tracing watchdog watchdogs
            """,
        "config.bootstrap.v3.Admin": "access_log access_log_path profile_path ignore_global_conn_limit",
        "config.bootstrap.v3.ClusterManager": "enable_deferred_cluster_creation load_stats_config outlier_detection",
        "config.metrics.v3.StatsSink": "name typed_config",
        "config.bootstrap.v3.Runtime": "symlink_root subdirectory",
        "config.listener.v3.Listener": """
            bypass_overload_manager connection_balance_config enable_mptcp enable_reuse_port ignore_global_conn_limit
            max_connections_to_accept_per_socket_event metadata reuse_port stats_matcher tcp_backlog_size
            tcp_fast_open_queue_length traffic_direction
            """,
        "config.listener.v3.FilterChain": "metadata name",
        "config.cluster.v3.Cluster": """
            cleanup_interval metadata preconnect_policy stats_matcher track_cluster_stats track_timeout_budgets
            wait_for_warm_on_init
            """,
        "config.cluster.v3.CircuitBreakers.Thresholds": "track_remaining",
        "config.endpoint.v3.ClusterLoadAssignment": "named_endpoints",
        "config.endpoint.v3.Endpoint": "health_check_config observability_name",
        "config.endpoint.v3.LbEndpoint": "metadata",
        "config.endpoint.v3.LocalityLbEndpoints": "metadata",
        "config.route.v3.RouteConfiguration": "metadata",
        "config.route.v3.VirtualHost": "metadata virtual_clusters",
        "config.route.v3.Route": "decorator metadata tracing",
        "config.core.v3.Locality": "region zone sub_zone",
        "type.matcher.v3.RegexMatcher": "google_re2",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager": """
            add_proxy_protocol_connection_state tracing
            """,
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.HcmAccessLogOptions": """
            access_log_flush_interval flush_log_on_tunnel_successfully_established
            """,
        "extensions.filters.http.router.v3.Router": """
            dynamic_stats start_child_span suppress_grpc_request_failure_code_stats upstream_log upstream_log_options
            """,
    }.items()
    for name in names.split()
)


def is_severe(field: str) -> bool:
    """Whether not honouring a field, given by its full protobuf name, changes traffic or security."""
    if field in _HARMLESS or field.startswith(_HARMLESS_TYPES):
        return False
    return field.rpartition(".")[2] not in _HARMLESS_ANYWHERE


def collect(root: View) -> list[Unhonoured]:
    """Every field below a view that was set and not read, in the order in which the compilers met them."""
    found = {(path, field): Unhonoured(path, field, is_severe(field)) for path, field in root.unread()}
    return list(found.values())
