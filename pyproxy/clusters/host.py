"""One upstream host: where it is, what it weighs, and what has happened to it.

The router counts here with plain integer additions; admin `/clusters` reads the numbers.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Any, Final

from pyproxy import clock
from pyproxy.config.address import AddressConfig
from pyproxy.config.cluster import EndpointConfig


class HealthFlag(IntFlag):
    """Why a host is not in the rotation, or only at its edge. `words` are Envoy's, for admin `/clusters`."""

    FAILED_ACTIVE_HC = 1
    FAILED_OUTLIER_CHECK = 2
    FAILED_EDS_HEALTH = 4
    DEGRADED_ACTIVE_HC = 8
    DEGRADED_EDS_HEALTH = 16
    PENDING_ACTIVE_HC = 32
    EXCLUDED_VIA_IMMEDIATE_HC_FAIL = 64
    ACTIVE_HC_TIMEOUT = 128
    EDS_STATUS_DRAINING = 256

    @property
    def words(self) -> str:
        return "".join(f"/{flag.name.lower()}" for flag in HealthFlag if flag in self and flag.name) or "healthy"


_ILL: Final = int(HealthFlag.FAILED_ACTIVE_HC | HealthFlag.FAILED_OUTLIER_CHECK | HealthFlag.FAILED_EDS_HEALTH)
_DEGRADED: Final = int(HealthFlag.DEGRADED_ACTIVE_HC | HealthFlag.DEGRADED_EDS_HEALTH)
_EXCLUDED: Final = int(HealthFlag.EXCLUDED_VIA_IMMEDIATE_HC_FAIL | HealthFlag.PENDING_ACTIVE_HC)
_OF_EDS: Final = int(HealthFlag.FAILED_EDS_HEALTH | HealthFlag.DEGRADED_EDS_HEALTH | HealthFlag.EDS_STATUS_DRAINING)


class Host:
    """A host as long as its cluster has it. `rq_active` is what LEAST_REQUEST compares.

    `pool` is the connection pool, made by its first user. `removed` is set once the cluster no longer has the
    host: requests in flight finish, nothing new may go there.
    """

    __slots__ = (
        "address",
        "address_config",
        "also",
        "canary",
        "check_hostname",
        "check_port",
        "checked",
        "checker",
        "cx_active",
        "cx_connect_fail",
        "cx_total",
        "degraded",
        "excluded",
        "flags",
        "healthy",
        "home",
        "hostname",
        "key",
        "load",
        "locality_weight",
        "metadata",
        "outlier",
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
        "since",
        "sub_zone",
        "weight",
        "zone",
    )

    def __init__(self, key: str, endpoint: EndpointConfig) -> None:
        self.key = key
        self.address: str
        """`ip:port`, or the path of a pipe."""
        self.address_config: AddressConfig
        self.home: Any = None
        """The cluster that it is a member of; None for one that stands alone."""
        self.pool: Any = None
        self.outlier: Any = None
        """What outlier detection knows of the host; None where there is none."""
        self.checker: Any = None
        """The session of its active health checks; None where there are none."""
        self.load: Any = None
        """What the load balancing policy remembers of the host; None where it needs nothing."""
        self.flags = 0
        self.healthy = True
        self.degraded = self.excluded = False
        self.since = clock.now
        """When the host came, or was healthy again."""
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
        before = (
            getattr(self, "weight", None),
            self.flags & _OF_EDS,
            getattr(self, "priority", None),
            getattr(self, "locality_weight", None),
            getattr(self, "metadata", None),
        )
        self.address_config = endpoint.address
        self.address = str(endpoint.address)
        self.also = endpoint.also
        self.hostname = endpoint.hostname
        self.weight = endpoint.weight
        self.locality_weight = endpoint.locality_weight
        self.check_port = endpoint.check_port
        self.check_hostname = endpoint.check_hostname or endpoint.hostname
        self.checked = endpoint.checked
        told = 0 if endpoint.healthy else int(HealthFlag.FAILED_EDS_HEALTH)
        if endpoint.degraded:
            told |= int(HealthFlag.DEGRADED_EDS_HEALTH)
        if endpoint.draining:
            told |= int(HealthFlag.EDS_STATUS_DRAINING)
        self._become(self.flags & ~_OF_EDS | told)
        self.priority = endpoint.priority
        self.region = endpoint.region
        self.zone = endpoint.zone
        self.sub_zone = endpoint.sub_zone
        self.metadata = endpoint.metadata
        self.canary = bool(endpoint.metadata and endpoint.metadata.get("envoy.lb", {}).get("canary"))
        return before != (
            self.weight,
            self.flags & _OF_EDS,
            self.priority,
            self.locality_weight,
            self.metadata,
        )

    def mark(self, flag: HealthFlag, *, on: bool) -> bool:
        """Set or clear a flag; whether that changes how traffic is spread."""
        before = (self.healthy, self.degraded, self.excluded)
        self._become(self.flags | int(flag) if on else self.flags & ~int(flag))
        return before != (self.healthy, self.degraded, self.excluded)

    def _become(self, flags: int) -> None:
        if self.flags & _ILL and not flags & _ILL:
            self.since = clock.now
        self.flags = flags
        self.healthy = not flags & _ILL
        self.degraded = bool(flags & _DEGRADED)
        self.excluded = bool(flags & _EXCLUDED)

    def at(self, address: AddressConfig) -> Host:
        """A stand-in at another address, for asking there."""
        return Host(self.key, EndpointConfig(address, hostname=self.hostname, metadata=self.metadata))

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
