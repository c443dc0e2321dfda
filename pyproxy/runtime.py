"""What a worker gives to the things that it builds: the loop, time, statistics, clusters, logs.

`XConfig.build(runtime)` makes the live X. Everything here lives as long as the worker.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from pyproxy.clusters.manager import ClusterManager
from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.late import LateValues
from pyproxy.config.listener import FilterConfig
from pyproxy.config.route import RouteTableConfig
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.config.scoped_routes import ScopeConfig
from pyproxy.network.connection_limit import ConnectionLimit
from pyproxy.network.cork import Cork
from pyproxy.network.internal_listeners import InternalListeners
from pyproxy.network.poller import Poller
from pyproxy.network.secret_watch import SecretWatch
from pyproxy.network.splice import Splices
from pyproxy.tasks import DeadlineTable
from pyproxy.telemetry.exports import Exports
from pyproxy.telemetry.http_metrics import HttpMetrics
from pyproxy.telemetry.logs import AccessLogs
from pyproxy.telemetry.metrics import StatsStore

Demand = Callable[[str, str, str, float], Awaitable[bool]]


async def _nobody_is_asked(kind: str, where: str, name: str, seconds: float) -> bool:
    """Where nothing comes from elsewhere."""
    del kind, where, name, seconds
    return False


@dataclass(slots=True)
class Runtime:
    """One worker's services."""

    loop: asyncio.AbstractEventLoop
    deadlines: DeadlineTable
    stats: StatsStore
    clusters: ClusterManager
    access_logs: AccessLogs
    values: RuntimeValues
    node: NodeConfig
    cork: Cork
    secrets: SecretWatch
    connection_limit: ConnectionLimit | None = None
    """Of all listeners together."""
    routes: LateValues[RouteTableConfig] = field(default_factory=LateValues)
    virtual_hosts: LateValues[RouteTableConfig] = field(default_factory=LateValues)
    """Of route tables that get some from elsewhere: tables that hold nothing but these."""
    scopes: LateValues[tuple[ScopeConfig, ...]] = field(default_factory=LateValues)
    filters: LateValues[FilterConfig] = field(default_factory=LateValues)
    """Configurations of filters that come from elsewhere, by `DiscoveredConfig.slot`."""
    demand: Demand = _nobody_is_asked
    """Asks for what is only needed now: of what kind, where (a slot, a source), which, and how many seconds to wait.
    Whether it has come."""
    workers: int = 1
    health_check_failed: bool = False
    """The proxy is to be seen as unhealthy (`/healthcheck/fail`)."""
    worker: int = 0
    """The number of this one."""
    exports: Exports = field(default_factory=Exports)
    internal: InternalListeners = field(default_factory=InternalListeners)
    http_metrics: HttpMetrics | None = None
    """OpenTelemetry's, where they are wanted."""
    splices: Splices = field(init=False)
    _connection_ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.splices = Splices(Poller(self.loop))

    def next_connection_id(self) -> int:
        return next(self._connection_ids)
