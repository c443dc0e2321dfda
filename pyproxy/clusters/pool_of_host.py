"""The connection pool of a host, made when somebody first wants a connection to it."""

from __future__ import annotations

from pyproxy.clusters.cluster import Cluster
from pyproxy.clusters.conn_pool import ConnectionPool
from pyproxy.clusters.host import Host
from pyproxy.network.cork import Cork


def pool_of(cluster: Cluster, host: Host, cork: Cork, *, high: bool = False) -> ConnectionPool:
    """For requests of one priority."""
    if host.pool is None:
        host.pool = _new_pool(cluster, host, cork, 0)
    pool: ConnectionPool = host.pool
    if not high:
        return pool
    if pool.high is None:
        pool.high = _new_pool(cluster, host, cork, 1)
    return pool.high


def _new_pool(cluster: Cluster, host: Host, cork: Cork, priority: int) -> ConnectionPool:
    idle = cluster.config.http.idle_timeout
    limits = cluster.limits[priority]
    return ConnectionPool(cluster.loop, cork, cluster, host, limits, cluster.deadlines.of(idle) if idle else None)
