"""Clusters and hosts as plain data, for admin `/clusters`: it has to travel from the worker to the admin server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyproxy.clusters.circuit_breakers import PRIORITIES
from pyproxy.clusters.cluster import Cluster
from pyproxy.clusters.host import HealthFlag, Host
from pyproxy.clusters.load_balancers.client_weighted import OrcaLoad
from pyproxy.clusters.membership import members_of
from pyproxy.config.cluster import AssignmentConfig, ClusterConfig, DiscoveryType, Thresholds
from pyproxy.config.config_source import slot_of
from pyproxy.config.late import LateValues

COUNTERS = ("cx_connect_fail", "cx_total", "rq_error", "rq_success", "rq_timeout", "rq_total")
GAUGES = ("cx_active", "rq_active", "rq_pending_active")
"""Of a host, in Envoy's order."""
LIMITS = ("max_connections", "max_pending_requests", "max_requests", "max_retries")


def cluster_status(cluster: Cluster) -> dict[str, Any]:
    """A live cluster."""
    return _status(cluster.config, cluster.host_set.hosts)


def unused_status(config: ClusterConfig, assignments: LateValues[AssignmentConfig]) -> dict[str, Any]:
    """A cluster that no request has used yet: its hosts are those that it would begin with."""
    if config.eds is not None:
        found: list[AssignmentConfig | None] = []
        assignments.watch(slot_of(config.eds.source, config.eds.service_name), found.append)()
        endpoints = () if found[0] is None else found[0].endpoints
        return _status(config, (Host(*member) for member in members_of(endpoints)))
    if config.discovery is not DiscoveryType.STATIC:
        return _status(config, ())
    return _status(config, (Host(*member) for member in members_of(config.endpoints)))


def _status(config: ClusterConfig, hosts: Iterable[Host]) -> dict[str, Any]:
    return {
        "name": config.name,
        "observability_name": config.stat_name,
        "added_via_api": False,
        "thresholds": dict(zip(PRIORITIES, map(_limits, config.thresholds), strict=True)),
        "hosts": [_host_status(host) for host in hosts],
    }


def _limits(thresholds: Thresholds) -> dict[str, int]:
    return {name: getattr(thresholds, name) for name in LIMITS}


def _host_status(host: Host) -> dict[str, Any]:
    at = host.address_config
    return {
        "address": host.address,
        "socket_address": None if at.pipe or at.internal else {"address": at.host, "port_value": at.port},
        "internal": {"server_listener_name": at.internal, "endpoint_id": at.endpoint_id} if at.internal else None,
        "pipe": at.pipe or None,
        "hostname": host.hostname,
        "weight": host.load.weight if isinstance(host.load, OrcaLoad) else host.weight,
        "healthy": host.healthy,
        "health_flags": HealthFlag(host.flags).words,
        "success_rate": -1.0 if host.outlier is None else host.outlier.external.rate,
        "local_origin_success_rate": -1.0 if host.outlier is None else host.outlier.local.rate,
        "priority": host.priority,
        "region": host.region,
        "zone": host.zone,
        "sub_zone": host.sub_zone,
        "counters": {name: getattr(host, name) for name in COUNTERS},
        "gauges": {name: getattr(host, name) for name in GAUGES},
    }
