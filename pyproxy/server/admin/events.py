"""`/events`: what happened to the proxy, a line of JSON for each event that was kept.

Who accepts `text/event-stream`, as EventSource of browsers does, or asks for `follow`, gets server-sent events: those
that were kept, then each that happens.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from pyproxy.server.admin.endpoint import Endpoint, Parameter, Question, Reply, bad_request
from pyproxy.server.event_hub import EventHub

EVENT_STREAM = "text/event-stream"
LINES = "application/jsonl"


async def show_events(question: Question) -> Reply:
    """`since`: only those with a higher number; `kind`: only those whose kind begins so."""
    text, kind = question.query.get("since", "0"), question.query.get("kind", "")
    if not (text.isascii() and text.isdigit()):
        return bad_request("usage: /events?since=NUMBER\n")
    hub = question.proxy.events
    if question.flag("follow") or EVENT_STREAM in question.accept:
        return Reply("", EVENT_STREAM, stream=_stream(hub, int(text), kind))
    return Reply("".join(one.as_json() + "\n" for one in hub.kept(since=int(text), kind=kind)), LINES)


async def _stream(hub: EventHub, since: int, kind: str) -> AsyncIterator[str]:
    """A comment first, so that whoever listens knows at once that it works."""
    yield ": events\n\n"
    async for one in hub.follow(since=since, kind=kind):
        yield f"id: {one.number}\nevent: {one.event.kind.value}\ndata: {one.as_json()}\n\n"


ENDPOINTS = (
    Endpoint(
        "/events",
        "print what has happened to the proxy",
        show_events,
        (
            Parameter("since", "Only events with a higher number"),
            Parameter("kind", "Only events whose kind begins so, such as worker"),
            Parameter("follow", "Go on with each that happens, as server-sent events"),
        ),
    ),
)
