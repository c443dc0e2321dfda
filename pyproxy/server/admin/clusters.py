"""`/clusters`: every cluster with its limits and its hosts, the numbers of all workers added."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Any

from pyproxy.server.admin.endpoint import Endpoint, Parameter, Question, Reply, as_json, bad_request

Data = dict[str, Any]

_LIMITS = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
_PRIORITIES = ("default", "high")


async def show_clusters(question: Question) -> Reply:
    """`filter` is a regular expression that is searched in the names."""
    try:
        wanted = re.compile(question.query.get("filter", ""))
    except re.error:
        return bad_request("Invalid re2 regex")
    clusters = [cluster for cluster in await question.proxy.clusters() if wanted.search(cluster["name"])]
    # In a thread: thousands of clusters take a second, and a probe must not wait for that.
    return await asyncio.to_thread(_as_json if question.wants_json else _as_text, clusters)


def _as_json(clusters: list[Data]) -> Reply:
    return as_json({"cluster_statuses": [_status(cluster) for cluster in clusters]} if clusters else {})


def _as_text(clusters: list[Data]) -> Reply:
    return Reply("".join(f"{line}\n" for cluster in clusters for line in _lines(cluster)))


def _lines(cluster: Data) -> Iterable[str]:
    name = cluster["name"]
    yield f"{name}::observability_name::{cluster['observability_name']}"
    for priority in _PRIORITIES:
        for limit in _LIMITS:
            yield f"{name}::{priority}_priority::{limit}::{cluster['thresholds'][priority][limit]}"
    yield f"{name}::added_via_api::{_word(cluster['added_via_api'])}"
    for host in cluster["hosts"]:
        for key, value in _host_facts(host).items():
            yield f"{name}::{host['address']}::{key}::{value}"


def _host_facts(host: Data) -> Data:
    return {
        **dict(sorted({**host["counters"], **host["gauges"]}.items())),
        "hostname": host["hostname"],
        "health_flags": host["health_flags"],
        "weight": host["weight"],
        "region": host["region"],
        "zone": host["zone"],
        "sub_zone": host["sub_zone"],
        "canary": _word(host.get("canary", False)),
        "priority": host["priority"],
        "success_rate": _rate(host.get("success_rate", -1)),
        "local_origin_success_rate": _rate(host.get("local_origin_success_rate", -1)),
    }


def _status(cluster: Data) -> Data:
    """envoy.admin.v3.ClusterStatus"""
    thresholds = cluster["thresholds"]
    status: Data = {"name": cluster["name"]}
    if cluster["added_via_api"]:
        status["added_via_api"] = True
    if cluster["hosts"]:
        status["host_statuses"] = [_host_status(host) for host in cluster["hosts"]]
    status["circuit_breakers"] = {"thresholds": [_set(thresholds["default"]), _set(thresholds["high"], "HIGH")]}
    status["observability_name"] = cluster["observability_name"]
    return status


def _host_status(host: Data) -> Data:
    """envoy.admin.v3.HostStatus; what has its default is left out, as protobuf does."""
    status: Data = {"address": _address(host)}
    counters = [
        {"value": str(value), "name": name} if value else {"name": name} for name, value in _by_name(host, "counters")
    ]
    gauges = [
        {"type": "GAUGE", **({"value": str(value)} if value else {}), "name": name}
        for name, value in _by_name(host, "gauges")
    ]
    status["stats"] = [*counters, *gauges]
    status["health_status"] = _health_status(host["health_flags"])
    status["weight"] = host["weight"]
    if host["hostname"]:
        status["hostname"] = host["hostname"]
    if host["priority"]:
        status["priority"] = host["priority"]
    status["locality"] = _locality(host)
    return status


_FLAGS = {
    "failed_active_hc": "failed_active_health_check",
    "failed_outlier_check": "failed_outlier_check",
    "degraded_active_hc": "failed_active_degraded_check",
    "pending_active_hc": "pending_active_hc",
    "excluded_via_immediate_hc_fail": "excluded_via_immediate_hc_fail",
    "active_hc_timeout": "active_hc_timeout",
}
_OF_EDS = {"failed_eds_health": "UNHEALTHY", "degraded_eds_health": "DEGRADED", "eds_status_draining": "DRAINING"}


def _health_status(flags: str) -> Data:
    """envoy.admin.v3.HostHealthStatus"""
    words = flags.strip("/").split("/")
    told: Data = {field: True for word, field in _FLAGS.items() if word in words}
    said = [status for word, status in _OF_EDS.items() if word in words]
    return {**told, "eds_health_status": said[-1] if said else "HEALTHY"}


def endpoint_config(cluster: Data) -> Data:
    """A cluster's hosts as an envoy.config.endpoint.v3.ClusterLoadAssignment, by locality."""
    localities: dict[tuple[str, str, str], list[Data]] = {}
    for host in cluster["hosts"]:
        localities.setdefault((host["region"], host["zone"], host["sub_zone"]), []).append(host)
    return {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster["name"],
        "endpoints": [
            {"locality": _locality(hosts[0]), "lb_endpoints": [_lb_endpoint(host) for host in hosts]}
            for hosts in localities.values()
        ],
        "policy": {"overprovisioning_factor": 140},
    }


def _lb_endpoint(host: Data) -> Data:
    endpoint: Data = {"address": _address(host)}
    if host["hostname"]:
        endpoint["hostname"] = host["hostname"]
    return {
        "endpoint": endpoint,
        "health_status": "HEALTHY" if host["healthy"] else "UNHEALTHY",
        "load_balancing_weight": host["weight"],
    }


def _address(host: Data) -> Data:
    if host["internal"]:
        return {"envoy_internal_address": {name: value for name, value in host["internal"].items() if value}}
    return {"pipe": {"path": host["pipe"]}} if host["pipe"] else {"socket_address": host["socket_address"]}


def _locality(host: Data) -> Data:
    return {key: host[key] for key in ("region", "zone", "sub_zone") if host[key]}


def _by_name(host: Data, kind: str) -> list[tuple[str, int]]:
    return sorted(host[kind].items())


def _set(limits: Data, priority: str = "") -> Data:
    return {**({"priority": priority} if priority else {}), **{name: limits[name] for name in _LIMITS}}


def _rate(percent: float) -> str:
    return f"{percent:g}"


def _word(value: bool) -> str:
    return "true" if value else "false"


ENDPOINTS = (
    Endpoint(
        "/clusters",
        "upstream cluster status",
        show_clusters,
        (
            Parameter("filter", "Regular expression (Google re2) for filtering clusters by name"),
            Parameter("format", "File format to use", ("text", "json")),
        ),
    ),
)
