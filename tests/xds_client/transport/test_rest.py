from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from aiohttp import web
from google.protobuf import json_format

from pyproxy.config.config_source import ApiSourceConfig, ApiType, ConfigSourceConfig
from pyproxy.config.descriptors import pool
from pyproxy.telemetry.metrics import StatsStore
from tests.support.control_plane import CLUSTER, ENDPOINTS, message, sotw
from tests.support.ports import LOOPBACK
from tests.xds_client.clients import WaitingSink, at, client, cluster

POLL = ConfigSourceConfig(ApiSourceConfig(ApiType.REST, clusters=("xds",), refresh_delay=0.02), 0.0)


class Gateway:
    """Answers with `status` and `body`, as the test sets them; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self.status = 200
        self.body = b"{}"
        self.port = 0

    def answer(self, response: Any) -> None:
        self.body = json_format.MessageToJson(response, descriptor_pool=pool()).encode()

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.put_nowait((request.path, await request.json()))
        return web.Response(status=self.status, body=self.body if self.status == 200 else b"")

    async def next(self) -> tuple[str, dict[str, Any]]:
        return await asyncio.wait_for(self.asked.get(), 10)


@contextlib.asynccontextmanager
async def gateway() -> AsyncIterator[Gateway]:
    made = Gateway()
    app = web.Application()
    app.router.add_post("/v3/{kind}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, 0)
    await site.start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()


async def test_polling_learns_what_changed() -> None:
    sink, store = WaitingSink(), StatsStore()
    async with gateway() as plane, client(cluster(at(plane.port)), None, store) as made:
        plane.answer(sotw(CLUSTER, "1", "", message(CLUSTER, name="a")))
        made.source(POLL).subscribe(CLUSTER, sink, {"*"})
        path, request = await plane.next()
        assert path == "/v3/discovery:clusters"
        assert request["node"]["id"] == "me"
        assert "version_info" not in request
        await sink.wait()
        assert sink.last == (["a"], [])
        plane.answer(sotw(CLUSTER, "2", "", message(CLUSTER, name="b")))
        await sink.wait()
        assert sink.last == (["b"], ["a"])
        while (await plane.next())[1].get("version_info") != "2":
            pass
        assert store.text("cluster_manager.cds.version_text").value == "2"


async def test_not_modified_and_faults_change_nothing() -> None:
    sink, store = WaitingSink(), StatsStore()
    async with gateway() as plane, client(cluster(at(plane.port)), None, store) as made:
        plane.answer(sotw(CLUSTER, "1", "", message(CLUSTER, name="a")))
        made.source(POLL).subscribe(CLUSTER, sink, {"*"})
        await sink.wait()
        failed = store.counter("cluster_manager.cds.update_failure")
        plane.status = 304
        await _several(plane)
        assert failed.value == 0
        plane.status = 503
        await _several(plane)
        assert failed.value > 0
        plane.status, plane.body = 200, b"["
        await _several(plane)
        assert sink.applied.keys() == {"a"}
        assert len(sink.updates) == 1


async def test_names_are_asked_for_and_new_ones_at_once() -> None:
    slow = replace(POLL, source=replace(POLL.source, refresh_delay=1000.0))
    async with gateway() as plane, client(cluster(at(plane.port)), None) as made:
        watch = made.source(slow).subscribe(ENDPOINTS, WaitingSink(), {"a"})
        assert (await plane.next())[1]["resource_names"] == ["a"]
        watch.watch({"a", "b"})
        assert (await plane.next())[1]["resource_names"] == ["a", "b"]


async def test_a_version_is_told_only_of_the_names_that_it_was_answered_for() -> None:
    """A server without a newer one would answer that nothing has changed, and say nothing of names that are new."""
    sink = WaitingSink()
    async with gateway() as plane, client(cluster(at(plane.port)), None) as made:
        plane.answer(sotw(ENDPOINTS, "1", "", message(ENDPOINTS, cluster_name="a")))
        watch = made.source(POLL).subscribe(ENDPOINTS, sink, {"a"})
        while (await plane.next())[1].get("version_info") != "1":
            pass
        plane.status = 304
        watch.watch({"b"})
        while (asked := (await plane.next())[1])["resource_names"] != ["b"]:
            pass
        assert "version_info" not in asked
        plane.status = 200
        plane.answer(sotw(ENDPOINTS, "1", "", message(ENDPOINTS, cluster_name="b")))
        while (await plane.next())[1].get("version_info") != "1":
            pass


async def test_nobody_there() -> None:
    sink = WaitingSink()
    async with client(cluster(), None) as made:
        made.source(replace(POLL, initial_fetch_timeout=0.05)).subscribe(CLUSTER, sink, {"*"})
        await sink.wait()
        assert sink.missing == ["*"]


async def _several(plane: Gateway) -> None:
    while not plane.asked.empty():
        plane.asked.get_nowait()
    for _ in range(3):
        await plane.next()
