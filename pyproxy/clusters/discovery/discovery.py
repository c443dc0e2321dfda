"""How a cluster learns of its hosts: one shape for all discovery types."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Protocol

from pyproxy.clusters.discovery.resolvers import Resolvers
from pyproxy.clusters.host import Host
from pyproxy.clusters.membership import Member
from pyproxy.telemetry.cluster_stats import ClusterStats


class Discovering(Protocol):
    """Who wants to know: the cluster."""

    def on_members(self, members: tuple[Member, ...]) -> None:
        """All the hosts that there are now."""

    def on_priorities(self, *, overprovisioning: int, weighted: bool) -> None:
        """How the priorities of the members that come next share the load (ClusterLoadAssignment.Policy)."""

    def on_settled(self) -> None:
        """The first answer is here, good or bad: a cluster that warms up need not wait longer."""

    def host(self, key: str) -> Host | None:
        """The host that a member has become."""


class Discovery(Protocol):
    """Tells the cluster from `start` until `close`."""

    def start(self, cluster: Discovering) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class DiscoveryServices:
    """What discovery needs of the worker, and where it counts."""

    loop: asyncio.AbstractEventLoop
    resolvers: Resolvers
    rng: random.Random
    stats: ClusterStats
