"""`/server_info`: version, state, uptime, command line and node (envoy.admin.v3.ServerInfo)."""

from __future__ import annotations

from typing import Any

from pyproxy.config.bootstrap import NodeConfig
from pyproxy.server.admin.endpoint import Endpoint, Question, Reply, as_json
from pyproxy.server.build_info import ENVOY_VERSION, build_info, version_text
from pyproxy.server.flags import Options
from pyproxy.server.proxy import HOT_RESTART_VERSION

_COMMAND_LINE = """
base_id concurrency config_path config_yaml allow_unknown_static_fields admin_address_path local_address_ip_version
log_level component_log_level log_format log_path service_cluster service_node service_zone file_flush_interval
drain_time parent_shutdown_time mode disable_hot_restart enable_mutex_tracing restart_epoch cpuset_threads
reject_unknown_dynamic_fields log_format_escaped disabled_extensions ignore_unknown_dynamic_fields
use_dynamic_base_id base_id_path drain_strategy enable_fine_grain_logging socket_path socket_mode enable_core_dump
stats_tag skip_hot_restart_on_no_parent skip_hot_restart_parent_stats skip_deprecated_logs file_flush_min_size
log_stacktrace_single_entry
"""


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
    as_json = {
        "base_id": str(options.base_id),
        "concurrency": workers,
        "allow_unknown_static_fields": options.allows_unknown_fields,
        "file_flush_interval": _seconds(options.file_flush_interval_msec),
        "drain_time": f"{options.drain_time_s}s",
        "parent_shutdown_time": f"{options.parent_shutdown_time_s}s",
        "mode": {"serve": "Serve", "validate": "Validate", "init_only": "InitOnly"}[options.mode],
        "disabled_extensions": [name for name in options.disable_extensions.split(",") if name],
        "drain_strategy": options.drain_strategy.capitalize(),
        "socket_mode": int(options.socket_mode, 8),
        "stats_tag": list(options.stats_tag),
        "file_flush_min_size": options.file_flush_min_size_kb,
    }
    return {name: as_json[name] if name in as_json else getattr(options, name) for name in _COMMAND_LINE.split()}


def _seconds(milliseconds: int) -> str:
    """A `google.protobuf.Duration` as JSON: `10s`, `0.250s`."""
    whole, rest = divmod(milliseconds, 1000)
    return f"{whole}.{rest:03d}s" if rest else f"{whole}s"


ENDPOINTS = (Endpoint("/server_info", "print server version/status information", show_server_info),)
