"""Brings listeners to the workers, one after the other: first their sockets, then what they are.

A worker that hears of a listener has its sockets already, because the supervisor has handed them out before.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from pyproxy.config.address import AddressConfig
from pyproxy.config.resources import ResourceType
from pyproxy.server.discovery.journal import Operation, Record
from pyproxy.server.discovery.store import ResourceStore
from pyproxy.server.socket_transfer import send_sockets
from pyproxy.server.sockets import SocketKey, address_of
from pyproxy.tasks import spawn

log = logging.getLogger("pyproxy.server.discovery")

Sockets = tuple[socket.socket, ...]
AskSupervisor = Callable[[dict[str, object]], Awaitable[bool]]


class Publisher:
    """`ask` puts a question to the supervisor; `sender` is where it takes sockets from. `on_idle`: nothing is left."""

    def __init__(
        self,
        store: ResourceStore,
        sender: socket.socket,
        ask: AskSupervisor,
        addresses: dict[SocketKey, AddressConfig],
        on_idle: Callable[[], None],
    ) -> None:
        self._store = store
        self._sender = sender
        self._ask = ask
        self._on_idle = on_idle
        self.addresses = dict(addresses)
        """Where every open socket listens."""
        self._opened: dict[SocketKey, Sockets] = {}
        self._steps: deque[Callable[[], Awaitable[None]]] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Something is on its way."""
        return bool(self._steps) or self._task is not None

    def has(self, key: SocketKey) -> bool:
        return key in self.addresses

    def keep(self, key: SocketKey, sockets: Sockets) -> None:
        """Sockets for a listener that is to come."""
        self._opened[key] = sockets
        self.addresses[key] = address_of(sockets[0])

    def put_listener(self, name: str, version: str, body: bytes, keys: Collection[SocketKey]) -> None:
        """`keys` are those of its sockets: what of them was just opened goes ahead of it."""
        opened = {key: self._opened.pop(key) for key in keys if key in self._opened}
        self._do(partial(self._put, Record(Operation.PUT, ResourceType.LISTENER, name, version, body), opened))

    def remove_listener(self, name: str) -> None:
        self._do(partial(self._put, Record(Operation.REMOVE, ResourceType.LISTENER, name), {}))

    def close_sockets(self, keys: Collection[SocketKey]) -> None:
        for key in keys:
            self.addresses.pop(key, None)
            for sock in self._opened.pop(key, ()):
                sock.close()
        self._do(partial(self._close, tuple(keys)))

    def _do(self, step: Callable[[], Awaitable[None]]) -> None:
        self._steps.append(step)
        if self._task is None:
            self._task = spawn(self._run(), "publish-listeners")

    async def _run(self) -> None:
        try:
            while self._steps:
                await self._steps.popleft()()
        finally:
            self._task = None
        self._on_idle()

    async def _put(self, record: Record, opened: dict[SocketKey, Sockets]) -> None:
        if opened:
            await self._hand_over(opened)
        self._store.write(record)

    async def _hand_over(self, opened: dict[SocketKey, Sockets]) -> None:
        """Give the supervisor what was opened; it gives the workers theirs."""
        if not send_sockets(self._sender, list(opened.items())) or not await self._ask({"op": "keep_sockets"}):
            log.error("the supervisor has not taken the sockets of %s", ", ".join(opened))
        for sockets in opened.values():
            for sock in sockets:
                sock.close()

    async def _close(self, keys: tuple[SocketKey, ...]) -> None:
        self._store.flush()
        await self._ask({"op": "close_listeners", "keys": list(keys)})
