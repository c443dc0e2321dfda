from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.config_source import ApiType
from pyproxy.config.invalid import InvalidConfig
from pyproxy.control_plane.mesh import HostPort
from pyproxy.control_plane.resources import CLUSTER, ENDPOINTS, SECRET
from pyproxy.control_plane.server import ControlPlaneServer
from pyproxy.control_plane.world import World
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.xds_client.node import AgentConfig
from pyproxy.xds_client.source import XdsClient
from tests.control_plane.test_mesh_file import WHOLE
from tests.control_plane.test_world import Authority
from tests.support.ports import LOOPBACK
from tests.xds_client.clients import ADS, WaitingSink, api, at, cluster


class Running:
    def __init__(self, server: ControlPlaneServer, file: Path) -> None:
        self.server = server
        self.file = file
        self.xds = self.admin = 0

    async def snapshot(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"http://{LOOPBACK}:{self.admin}/snapshot") as got:
            found: dict[str, Any] = await got.json()
            return found

    async def rotate(self) -> None:
        async with aiohttp.ClientSession() as session:
            await session.post(f"http://{LOOPBACK}:{self.admin}/rotate")


@contextlib.asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Running]:
    file = directory / "mesh.yaml"
    file.write_text(WHOLE)
    made = Running(ControlPlaneServer(World(Authority(), lambda: 0.0), file), file)
    made.server.read_file()
    made.xds, made.admin = await made.server.start(HostPort(LOOPBACK, 0), HostPort(LOOPBACK, 0))
    try:
        yield made
    finally:
        await made.server.stop()


@pytest.mark.parametrize("api_type", [ApiType.GRPC, ApiType.DELTA_GRPC])
async def test_a_proxy_learns_what_changes_in_the_file(tmp_path: Path, api_type: ApiType) -> None:
    async with running(tmp_path) as plane:
        node = NodeConfig(id="front-1", cluster="front")
        clusters = {"xds": cluster(at(plane.xds))}
        client = XdsClient(asyncio.get_running_loop(), node, AgentConfig(), clusters, api(api_type), StatsStore())
        try:
            sink, hosts, secrets = WaitingSink(), WaitingSink(), WaitingSink()
            client.source(ADS).subscribe(CLUSTER, sink, {"*"})
            client.source(ADS).subscribe(ENDPOINTS, hosts, {"back|v1"})
            client.source(ADS).subscribe(SECRET, secrets, {"default"})
            for one in (sink, hosts, secrets):
                await one.wait()
            assert sink.applied.keys() == {"back|v1", "back|v2", "traces"}
            before = secrets.applied["default"]
            await plane.rotate()
            await secrets.wait()
            assert secrets.applied["default"] != before
            plane.file.write_text(WHOLE.replace("version: v2", "version: v3").replace("v2: 10", "v3: 10"))
            await sink.wait()
            assert sink.last == (["back|v3"], ["back|v2"])
            (seen,) = (await plane.snapshot())["nodes"]
            assert (seen["id"], seen["known"]) == ("front-1", True)
            assert seen["types"]["Cluster"]["resources"].keys() == {"back|v1", "back|v3", "traces"}
        finally:
            client.close()
            await asyncio.sleep(0)


async def test_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        plane.file.write_text("servces: {}")
        with pytest.raises(InvalidConfig):
            plane.server.read_file()
        snapshot = await plane.snapshot()
        assert "did you mean 'services'" in snapshot["problem"]
        assert list(snapshot["services"]) == ["front", "back"]
