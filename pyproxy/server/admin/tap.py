"""`/tap`: requests as they end, a line of JSON each, for as long as somebody reads (`pyproxy tap`)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from pyproxy.config.invalid import InvalidConfig
from pyproxy.server.admin.endpoint import Endpoint, Parameter, Question, Reply, bad_request
from pyproxy.server.tap_filters import AlreadyAttached, UnknownTap
from pyproxy.server.tap_hub import MOST_WATCHERS, TapHub
from pyproxy.telemetry.live_tap import TapWish

LINES = "application/jsonl"


async def show_tap(question: Question) -> Reply:
    """What somebody posts is for tap filters, as in Envoy. Without `follow` only what can be asked for: a scraper that
    reads every endpoint must not watch for ever."""
    if question.method == "POST":
        return await _attach(question)
    try:
        wish = TapWish.parse(question.query)
    except ValueError as error:
        return bad_request(f"{error}\n")
    if not question.flag("follow"):
        return Reply(
            "usage: /tap?follow[&method=GET][&path=/api][&host=][&status=5xx][&slower_than=MS][&peer=][&bodies=BYTES]\n"
        )
    hub = question.proxy.tap
    if len(hub.wishes) >= MOST_WATCHERS:
        return Reply(f"{MOST_WATCHERS} watch already\n", status=503)
    return Reply("", LINES, stream=_stream(hub, wish))


async def _attach(question: Question) -> Reply:
    """The answer goes on until whoever has asked leaves, or has what was wanted."""
    # Imported by the first who asks: no manager pays for it before.
    from pyproxy.config.tap_compile import parse_tap_request

    if not question.body.strip():
        return bad_request("/tap requires a JSON/YAML body")
    try:
        request = parse_tap_request(question.body.decode("utf-8", "replace"))
        traces = await question.proxy.tap_filters.attach(request)
    except (InvalidConfig, AlreadyAttached, UnknownTap) as error:
        return bad_request(str(error))
    return Reply("", stream=traces)


async def _stream(hub: TapHub, wish: TapWish) -> AsyncIterator[str]:
    yield "\n"  # so that whoever watches knows at once that it works
    async for entry in hub.watch(wish):
        yield json.dumps(entry, separators=(",", ":"), ensure_ascii=False) + "\n"


ENDPOINTS = (
    Endpoint(
        "/tap",
        "watch requests as they end; POST: record them with tap filters",
        show_tap,
        (
            Parameter("follow", "Watch"),
            Parameter("method", "Only requests with this method"),
            Parameter("path", "Only paths that begin so"),
            Parameter("host", "Only hosts that begin so"),
            Parameter("status", "Only this status, or class such as 5xx"),
            Parameter("slower_than", "Only requests that took so many milliseconds"),
            Parameter("peer", "Only clients whose certificate URI contains this"),
            Parameter("bodies", "Show as many bytes of bodies that are text"),
        ),
    ),
)
