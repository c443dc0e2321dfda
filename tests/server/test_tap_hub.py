"""Those who watch, in the manager."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyproxy.server import tap_hub
from pyproxy.server.tap_hub import TapHub, TooMany
from pyproxy.telemetry.live_tap import TapWish
from tests.telemetry.test_live_tap import entry


async def test_workers_are_told_while_somebody_watches() -> None:
    told: list[list[dict[str, Any]]] = []
    hub = TapHub(told.append)
    seen: list[dict[str, Any]] = []

    async def watch(wish: TapWish) -> None:
        seen.extend([one async for one in hub.watch(wish)])

    watching = asyncio.get_running_loop().create_task(watch(TapWish(status="5xx")))
    while not told:
        await asyncio.sleep(0)
    assert told == [[TapWish(status="5xx").as_message()]]
    hub.take({"entries": [entry(), entry(status=200)], "dropped": 3})
    hub.close()
    await watching
    assert seen == [entry(), {"dropped": 3}]
    assert told[-1] == []


async def test_only_so_many_may_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_hub, "MOST_WATCHERS", 0)
    with pytest.raises(TooMany):
        await anext(TapHub(lambda wishes: None).watch(TapWish()))


async def test_who_does_not_read_loses_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_hub, "_MOST_UNREAD", 2)
    hub = TapHub(lambda wishes: None)
    watching = hub.watch(TapWish())
    first = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)
    hub.take({"entries": [entry(path="/0")], "dropped": 0})
    assert (await first)["path"] == "/0"
    hub.take({"entries": [entry(path=f"/{number}") for number in (1, 2, 3)], "dropped": 0})
    assert (await anext(watching))["path"] == "/2"
    await watching.aclose()  # type: ignore[attr-defined]
