"""One request through a mesh, followed by its trace id: access logs, spans, exemplars and events of every proxy on its
way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession

from examples.demo.follow import Followed, followed
from examples.demo.layout import FAILING
from examples.demo.mesh import Mesh

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mesh"), pytest.mark.timeout(600)]

OURS = "0af7651916cd43dd8448eb211c80319c"
REQUEST_ID = "11111111-1111-9111-8111-111111111111"
PATIENCE = 120.0


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    made = Mesh(tmp_path)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def test_by_the_trace_that_a_client_began(mesh: Mesh) -> None:
    headers = {"traceparent": f"00-{OURS}-b7ad6b7169203331-01", "x-request-id": REQUEST_ID}
    async with ClientSession() as session:
        await (await session.get(f"http://127.0.0.1:{mesh.layout.ports['gateway']}/", headers=headers)).release()
    found = await follow(mesh, OURS, lambda one: len(one.lines) == 6 and len(one.spans) == 12 and bool(one.exemplars))
    catalog = found.lines[3].proxy
    assert catalog.startswith("catalog-")
    assert [(line.proxy, line.direction) for line in found.lines] == [
        ("edge-1", "gateway"),
        ("shop-1", "inbound"),
        ("shop-1", "outbound"),
        (catalog, "inbound"),
        (catalog, "outbound"),
        ("stock-1", "inbound"),
    ]
    assert {line.fields["request_id"] for line in found.lines} == {REQUEST_ID}
    callers = [f"spiffe://demo.local/{name}" for name in ("edge", "shop", "catalog")]
    assert [line.fields["peer"] for line in found.lines] == [None, callers[0], None, callers[1], None, callers[2]]
    # Each span is the child of the one before: a server span and a client span for each listener.
    assert [one.parent for one in found.spans] == ["b7ad6b7169203331", *(one.span for one in found.spans[:-1])]
    assert [one.kind for one in found.spans] == ["server", "client"] * 6
    assert {one.proxy for one in found.exemplars} >= {"edge-1", "shop-1", catalog, "stock-1"}


async def test_by_the_event_that_it_caused(mesh: Mesh) -> None:
    mesh.services[FAILING].ill = True
    sending = asyncio.ensure_future(mesh.load.run())
    try:
        event = None
        while event is None:
            await mesh.watch.look()
            event = next((one for one in mesh.watch.events if one.kind == "host.ejected"), None)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert event.proxy == "shop-1"
    assert event.subject == f"127.0.0.1:{mesh.layout.ports['catalog_v1_b_proxy']}"
    found = await follow(mesh, event.fields["trace_id"], lambda one: one.complete)
    assert [line.fields["status"] for line in found.lines if line.proxy == FAILING.name] == [503]
    assert [line.fields["attempts"] for line in found.lines if line.proxy == "shop-1"] == [1, 2]
    assert any(one.events == ("retry",) for one in found.spans if one.service == "shop-1")
    assert FAILING.name in {one.proxy for one in found.exemplars}
    assert mesh.load.errors == 0


async def follow(mesh: Mesh, trace: str, enough: Callable[[Followed], bool]) -> Followed:
    """What there is of a trace, once it is enough."""
    end = time.monotonic() + PATIENCE
    while True:
        mesh.logs.read()
        lines, spans = mesh.logs.traces.get(trace, ()), mesh.collector.traces.get(trace, ())
        found = followed(trace, lines, spans, await mesh.watch.exemplars(trace), mesh.watch.events)
        if enough(found):
            return found
        assert time.monotonic() < end, "\n".join(found.text())
        await asyncio.sleep(0.1)
