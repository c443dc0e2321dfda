"""Who has asked for what tap filters record."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pyproxy.config.tap_compile import TapRequest, parse_tap_request
from pyproxy.server.tap_filters import AlreadyAttached, TapFilters, UnknownTap

TRACE = {"id": 1, "segment": "request_headers", "value": [], "truncated": False}


def asked(sink: dict[str, Any]) -> TapRequest:
    config = {"match": {"any_match": True}, "output_config": {"sinks": [sink]}}
    return parse_tap_request(json.dumps({"config_id": "me", "tap_config": config}))


class Workers:
    """Two, of which one knows the filter."""

    def __init__(self, *, known: bool = True) -> None:
        self.told: list[dict[str, Any]] = []
        self._known = known

    async def ask(self, message: dict[str, Any]) -> list[Any]:
        self.told.append(message)
        return [None, {"known": self._known}]


async def test_one_at_a_time() -> None:
    workers = Workers()
    taps = TapFilters(workers.ask)
    assert taps.message is None
    stream = await taps.attach(asked({"streaming_admin": {}}))
    assert taps.message == workers.told[0]
    with pytest.raises(AlreadyAttached):
        await taps.attach(asked({"streaming_admin": {}}))
    taps.take({"id": "other", "trace": TRACE})
    taps.take({"id": "me", "trace": TRACE})
    assert b'"http_streamed_trace_segment"' in await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    assert workers.told[-1] == {"op": "tap_filters", "id": "me", "config": ""}
    assert taps.message is None


async def test_no_filter_has_the_id() -> None:
    taps = TapFilters(Workers(known=False).ask)
    with pytest.raises(UnknownTap, match="'me'"):
        await taps.attach(asked({"streaming_admin": {}}))
    assert taps.message is None


async def test_as_many_as_are_wanted() -> None:
    taps = TapFilters(Workers().ask)
    stream = await taps.attach(asked({"buffered_admin": {"max_traces": 2}}))
    for _ in range(3):
        taps.take({"id": "me", "trace": TRACE})
    assert len([piece async for piece in stream]) == 2


async def test_those_that_came_in_time() -> None:
    taps = TapFilters(Workers().ask)
    stream = await taps.attach(asked({"buffered_admin": {"max_traces": 2, "timeout": "0.05s"}}))
    taps.take({"id": "me", "trace": TRACE})
    assert len([piece async for piece in stream]) == 1


async def test_the_end_of_the_proxy() -> None:
    taps = TapFilters(Workers().ask)
    stream = await taps.attach(asked({"streaming_admin": {}}))
    reading = asyncio.gather(*[_all(stream)])
    taps.close()
    assert await reading == [[]]


async def _all(stream: Any) -> list[bytes]:
    return [piece async for piece in stream]
