"""An `XdsClient` whose control plane a test plays, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from pyproxy.config.address import AddressConfig
from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.cluster import ClusterConfig, EndpointConfig
from pyproxy.config.config_source import (
    AdsSourceConfig,
    ApiSourceConfig,
    ApiType,
    BackOffConfig,
    ConfigSourceConfig,
    GrpcServiceConfig,
)
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.xds_client.node import AgentConfig
from pyproxy.xds_client.source import XdsClient
from tests.support.control_plane import ControlPlane
from tests.support.ports import LOOPBACK
from tests.xds_client.talk import Sink

QUICK = BackOffConfig(0.02, 0.1)
ADS = ConfigSourceConfig(AdsSourceConfig(), 0.0)


def cluster(*addresses: AddressConfig, **fields: Any) -> ClusterConfig:
    return ClusterConfig("xds", endpoints=tuple(EndpointConfig(one) for one in addresses), **fields)


def at(port: int) -> AddressConfig:
    return AddressConfig(LOOPBACK, port)


def api(api_type: ApiType = ApiType.AGGREGATED_GRPC, **service: Any) -> ApiSourceConfig:
    return ApiSourceConfig(api_type, services=(GrpcServiceConfig("xds", back_off=QUICK, **service),))


class WaitingSink(Sink):
    """Can be awaited: `heard` is set with each call."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = asyncio.Event()

    def on_update(self, update: Any) -> Any:
        self.heard.set()
        return super().on_update(update)

    def on_missing(self, name: str) -> None:
        self.heard.set()
        super().on_missing(name)

    async def wait(self, seconds: float = 10.0) -> None:
        await asyncio.wait_for(self.heard.wait(), seconds)
        self.heard.clear()


@contextlib.asynccontextmanager
async def client(
    reached_by: ClusterConfig, ads: ApiSourceConfig | None, store: StatsStore | None = None
) -> AsyncIterator[XdsClient]:
    node = NodeConfig(id="me", cluster="mine")
    loop = asyncio.get_running_loop()
    made = XdsClient(loop, node, AgentConfig(), {"xds": reached_by}, ads, store or StatsStore())
    try:
        yield made
    finally:
        made.close()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def control_plane(**where: Any) -> AsyncIterator[ControlPlane]:
    made = ControlPlane()
    await made.start(**where)
    try:
        yield made
    finally:
        await made.stop()
