"""One upstream host: where it is, what it weighs, and what has happened to it.

The router counts here with plain integer additions; admin `/clusters` reads the numbers.
"""

from __future__ import annotations

from typing import Any

from pyproxy.config.address import AddressConfig
from pyproxy.config.cluster import EndpointConfig


class Host:
    """A host as long as its cluster has it. `rq_active` is what LEAST_REQUEST compares.

    `pool` is the connection pool, made by its first user. `removed` is set once the cluster no longer has the
    host: requests in flight finish, nothing new may go there.
    """

    __slots__ = (
        "address",
        "address_config",
        "cx_active",
        "cx_connect_fail",
        "cx_total",
        "healthy",
        "hostname",
        "key",
        "metadata",
        "pool",
        "priority",
        "region",
        "removed",
        "rq_active",
        "rq_error",
        "rq_pending_active",
        "rq_success",
        "rq_timeout",
        "rq_total",
        "sub_zone",
        "weight",
        "zone",
    )

    def __init__(self, key: str, endpoint: EndpointConfig) -> None:
        self.key = key
        self.address: str
        """`ip:port`, or the path of a pipe."""
        self.address_config: AddressConfig
        self.pool: Any = None
        self.removed = False
        self.cx_active = 0
        self.cx_connect_fail = 0
        self.cx_total = 0
        self.rq_active = 0
        self.rq_error = 0
        self.rq_pending_active = 0
        self.rq_success = 0
        self.rq_timeout = 0
        self.rq_total = 0
        self.adopt(endpoint)

    def adopt(self, endpoint: EndpointConfig) -> bool:
        """Take over what discovery says of the host now; whether that changes how traffic is spread."""
        before = (getattr(self, "weight", None), getattr(self, "healthy", None))
        self.address_config = endpoint.address
        self.address = str(endpoint.address)
        self.hostname = endpoint.hostname
        self.weight = endpoint.weight
        self.healthy = endpoint.healthy
        self.priority = endpoint.priority
        self.region = endpoint.region
        self.zone = endpoint.zone
        self.sub_zone = endpoint.sub_zone
        self.metadata = endpoint.metadata
        return before != (self.weight, self.healthy)

    @property
    def locality(self) -> tuple[str, str, str]:
        return (self.region, self.zone, self.sub_zone)

    def retire(self) -> None:
        """The host is not a member any more: idle connections close, busy ones when their requests are done.

        A request that chose it before may still be sent; the connection is not kept after it.
        """
        self.removed = True
        if self.pool is not None:
            self.pool.drain()

    def close(self) -> None:
        """Close all connections at once."""
        self.removed = True
        if self.pool is not None:
            self.pool.close()

    def __repr__(self) -> str:
        state = "removed" if self.removed else "healthy" if self.healthy else "unhealthy"
        return f"<Host {self.address} {state}, {self.rq_active} active, {self.rq_total} requests>"
