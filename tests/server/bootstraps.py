"""Bootstraps as plain data, in the shape of Envoy's JSON."""

from __future__ import annotations

from typing import Any

from tests.support.ports import LOOPBACK

Json = dict[str, Any]

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
HELLO: Json = {"direct_response": {"status": 200, "body": {"inline_string": "hi"}}}


def at(port: int, host: str = LOOPBACK) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def file_log(path: str, line: str) -> Json:
    typed = {"@type": FILE_LOG, "path": path, "log_format": {"text_format_source": {"inline_string": f"{line}\n"}}}
    return {"name": "log", "typed_config": typed}


def manager(stat_prefix: str, route: Json, name: str = "", **more: Any) -> Json:
    """An HTTP connection manager with one route for everything."""
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": HCM,
            "stat_prefix": stat_prefix,
            "route_config": {
                "name": name,
                "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **route}]}],
            },
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
            **more,
        },
    }


def listener(name: str, port: int, network_filter: Json, **more: Any) -> Json:
    return {"name": name, "address": at(port), "filter_chains": [{"filters": [network_filter]}], **more}


def static_cluster(name: str, *endpoints: Json, **more: Any) -> Json:
    """`endpoints` are LbEndpoint messages."""
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": list(endpoints)}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": assignment, **more}


def endpoint(port: int, host: str = LOOPBACK) -> Json:
    return {"endpoint": {"address": at(port, host)}}


def bootstrap(listeners: list[Json], clusters: list[Json], **more: Any) -> Json:
    """With an admin on a port of the system's choice."""
    resources = {"listeners": listeners, "clusters": clusters}
    return {"admin": {"address": at(0)}, "static_resources": resources, **more}
