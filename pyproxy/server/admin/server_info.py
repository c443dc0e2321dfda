"""`/server_info`: version, state, uptime, command line and node (envoy.admin.v3.ServerInfo)."""

from __future__ import annotations

from typing import Any

from pyproxy.config.bootstrap import NodeConfig
from pyproxy.server.admin.endpoint import Endpoint, Question, Reply, as_json
from pyproxy.server.build_info import ENVOY_VERSION, build_info, version_text
from pyproxy.server.flags import Options
from pyproxy.server.proxy import HOT_RESTART_VERSION


async def show_server_info(question: Question) -> Reply:
    """`state` is asked of the workers, as in `/ready`. `build` (which engines are loaded) and
    `worker_restarts` are ours."""
    proxy = question.proxy
    state = await proxy.state()
    uptime = f"{int(proxy.uptime)}s"
    return as_json(
        {
            "version": version_text(),
            "state": state.name,
            "uptime_current_epoch": uptime,
            "uptime_all_epochs": uptime,
            "hot_restart_version": HOT_RESTART_VERSION,
            "hot_restart_initializing": False,
            "command_line_options": command_line(proxy.blueprint.options, proxy.blueprint.workers),
            "node": node_json(proxy.blueprint.bootstrap.node),
            "build": build_info(),
            "worker_restarts": proxy.restarts,
        }
    )


def node_json(node: NodeConfig) -> dict[str, Any]:
    """envoy.config.core.v3.Node"""
    major, minor, patch = (int(part) for part in ENVOY_VERSION.split("."))
    return {
        "id": node.id,
        "cluster": node.cluster,
        "metadata": dict(node.metadata),
        "locality": {"region": node.region, "zone": node.zone, "sub_zone": node.sub_zone},
        "user_agent_name": "envoy",
        "user_agent_build_version": {
            "version": {"major_number": major, "minor_number": minor, "patch": patch},
            "metadata": build_info(),
        },
        "extensions": [],
        "client_features": [],
        "listening_addresses": [],
        "dynamic_parameters": {},
    }


def command_line(options: Options, workers: int) -> dict[str, Any]:
    """envoy.admin.v3.CommandLineOptions, in its order."""
    return {
        "base_id": str(options.base_id),
        "concurrency": workers,
        "config_path": options.config_path,
        "config_yaml": options.config_yaml,
        "allow_unknown_static_fields": options.allows_unknown_fields,
        "admin_address_path": options.admin_address_path,
        "local_address_ip_version": options.local_address_ip_version,
        "log_level": options.log_level,
        "component_log_level": options.component_log_level,
        "log_format": options.log_format,
        "log_path": options.log_path,
        "service_cluster": options.service_cluster,
        "service_node": options.service_node,
        "service_zone": options.service_zone,
        "file_flush_interval": _seconds(options.file_flush_interval_msec),
        "drain_time": f"{options.drain_time_s}s",
        "parent_shutdown_time": f"{options.parent_shutdown_time_s}s",
        "mode": {"serve": "Serve", "validate": "Validate", "init_only": "InitOnly"}[options.mode],
        "disable_hot_restart": options.disable_hot_restart,
        "enable_mutex_tracing": options.enable_mutex_tracing,
        "restart_epoch": options.restart_epoch,
        "cpuset_threads": options.cpuset_threads,
        "reject_unknown_dynamic_fields": options.reject_unknown_dynamic_fields,
        "log_format_escaped": options.log_format_escaped,
        "disabled_extensions": [name for name in options.disable_extensions.split(",") if name],
        "ignore_unknown_dynamic_fields": options.ignore_unknown_dynamic_fields,
        "use_dynamic_base_id": options.use_dynamic_base_id,
        "base_id_path": options.base_id_path,
        "drain_strategy": options.drain_strategy.capitalize(),
        "enable_fine_grain_logging": options.enable_fine_grain_logging,
        "socket_path": options.socket_path,
        "socket_mode": int(options.socket_mode, 8),
        "enable_core_dump": options.enable_core_dump,
        "stats_tag": list(options.stats_tag),
        "skip_hot_restart_on_no_parent": options.skip_hot_restart_on_no_parent,
        "skip_hot_restart_parent_stats": options.skip_hot_restart_parent_stats,
        "skip_deprecated_logs": options.skip_deprecated_logs,
        "file_flush_min_size": options.file_flush_min_size_kb,
        "log_stacktrace_single_entry": options.log_stacktrace_single_entry,
    }


def _seconds(milliseconds: int) -> str:
    """A `google.protobuf.Duration` as JSON: `10s`, `0.250s`."""
    whole, rest = divmod(milliseconds, 1000)
    return f"{whole}.{rest:03d}s" if rest else f"{whole}s"


ENDPOINTS = (Endpoint("/server_info", "print server version/status information", show_server_info),)
