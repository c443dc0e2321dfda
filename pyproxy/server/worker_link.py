"""One worker as the manager sees it: the channel to it, and what it last said about itself."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from pyproxy.server.channel import Channel, ChannelError
from pyproxy.server.crew import WorkerReport
from pyproxy.server.server_state import ServerState

log = logging.getLogger("pyproxy.server.worker_link")

ANSWER_SECONDS = 0.75
"""A worker's loop never sleeps that long; a probe gives us one second (Kubernetes: timeoutSeconds)."""

PAGE = 50
"""Clusters that a worker describes at once: a few milliseconds of its time."""
PAGE_SECONDS = 5.0


class WorkerLink:
    """`on_live(link)` is called when the worker, or its successor, begins to serve."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, index: int, sock: socket.socket, on_live: Callable[[WorkerLink], None]
    ) -> None:
        self.index = index
        self.pid = 0
        self.state: ServerState | None = None
        self._on_live = on_live
        self.on_tap: Callable[[dict[str, Any]], None] = _nobody
        """Called with requests that somebody watches."""
        self.on_events: Callable[[dict[str, Any]], None] = _nobody
        """Called with the events of a worker."""
        self.on_trace: Callable[[dict[str, Any]], None] = _nobody
        """Called with what a tap filter has recorded."""
        self.on_export: Callable[[dict[str, Any]], None] = _nobody
        """Called with what a worker has for a collector (server.export_notes)."""
        self.on_demand: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]] = _nothing_there
        """Called with what a worker only needs now."""
        self._channel = Channel(loop, sock, self._hear)

    def __repr__(self) -> str:
        return f"<WorkerLink {self.index} pid={self.pid} {self.state.name if self.state else 'silent'}>"

    def update(self, report: WorkerReport) -> None:
        """What the supervisor says about the process."""
        if report.pid != self.pid:
            self.pid = report.pid
            self.state = None
            self._channel.peer_restarted()

    async def ask_state(self) -> ServerState | None:
        """What the worker says now, None where it says nothing."""
        answer = await self.ask({"op": "status"})
        self.state = ServerState[answer["state"]] if answer else None
        return self.state

    async def clusters(self) -> list[dict[str, Any]]:
        """All clusters as the worker has them; in pages, so that no request waits while it describes thousands."""
        found: list[dict[str, Any]] = []
        while True:
            question = {"op": "clusters", "start": len(found), "count": PAGE}
            page = await self.ask(question, PAGE_SECONDS)
            found.extend(page or ())
            if not page or len(page) < PAGE:
                return found

    async def ask(self, message: dict[str, Any], seconds: float = ANSWER_SECONDS) -> Any:
        """The answer, or None where there is none in time."""
        try:
            return await self._channel.ask(message, seconds)
        except ChannelError as error:
            log.debug("worker %d: %s: %s", self.index, message["op"], error)
            return None

    def tell(self, message: dict[str, Any]) -> None:
        try:
            self._channel.tell(message)
        except ChannelError as error:
            log.warning("worker %d was not told %s: %s", self.index, message["op"], error)

    def close(self) -> None:
        self._channel.close()

    def _hear(self, message: dict[str, Any]) -> Any:
        if message.get("op") == "demand":
            return self.on_demand(message)
        if message.get("event") == "export":
            self.on_export(message)
        elif message.get("event") == "tap_trace":
            self.on_trace(message)
        elif message.get("event") == "tap":
            self.on_tap(message)
        elif message.get("event") == "events":
            self.on_events(message)
        elif message.get("event") == "state":
            self.state = ServerState[message["state"]]
            if self.state is ServerState.LIVE:
                self._on_live(self)
        return None


async def _nothing_there(message: dict[str, Any]) -> dict[str, Any]:
    """Where nothing comes from elsewhere, and until the manager has begun to learn."""
    del message
    await asyncio.sleep(ANSWER_SECONDS)  # it is asked again
    return {"found": None}


def _nobody(message: dict[str, Any]) -> None:
    """Until the manager has its exporters."""
