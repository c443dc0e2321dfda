"""The listeners of one worker: added, replaced and drained from what the configuration says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Mapping

from pyproxy import clock
from pyproxy.config.listener import ListenerConfig
from pyproxy.listeners.listener import Listener
from pyproxy.network.incoming import Address
from pyproxy.runtime import Runtime

SocketKey = tuple[str, int]
"""(listener name, position of the address in the listener)."""

HANDSHAKE_GRACE = 0.1
"""Seconds: nobody may begin a new handshake any more; those that were under way can complete in this time."""
IDLE_GRACE = 1.0
"""Seconds that a connection without a request is kept when draining."""
_LOOK_AGAIN = 0.02


class ListenerManager:
    """Name -> Listener."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._listeners: dict[str, Listener] = {}

    async def apply(self, configs: tuple[ListenerConfig, ...], sockets: Mapping[SocketKey, socket.socket]) -> None:
        """Make the listeners be what `configs` say. Unchanged ones are left alone."""
        wanted = {config.name: config for config in configs}
        for name, listener in list(self._listeners.items()):
            if wanted.get(name) != listener.config:
                listener.drain()
                del self._listeners[name]
        for name, config in wanted.items():
            if name not in self._listeners:
                listener = Listener(config, self._runtime, self._of_address)
                if config.bind:
                    await listener.listen([sockets[name, at] for at in range(len(config.addresses))])
                self._listeners[name] = listener

    def _of_address(self, address: Address) -> Listener | None:
        """The listener of an address, or else of its port on all addresses (Envoy: use_original_dst)."""
        host, port = address
        for wanted in (host, "0.0.0.0", "::"):  # noqa: S104 - nothing is bound to it
            for listener in self._listeners.values():
                if any(one.port == port and one.host == wanted for one in listener.config.addresses):
                    return listener
        return None

    @property
    def connections_active(self) -> int:
        return sum(listener.connections for listener in self._listeners.values())

    def stop_accepting(self, names: Collection[str]) -> None:
        """These listeners take no further connections; those that are open go on."""
        for name in names:
            if name in self._listeners:
                self._listeners[name].stop_accepting()

    def ask_to_leave(self, names: Collection[str]) -> None:
        """Ask downstreams of these listeners to leave, old ones and new ones, and go on accepting."""
        for name in names:
            if name in self._listeners:
                self._listeners[name].ask_to_leave()

    def fail_health_checks(self, failed: bool) -> None:
        """Ask all downstreams to leave while the proxy is to be seen as unhealthy; let them stay again."""
        for listener in self._listeners.values():
            if failed:
                listener.ask_to_leave()
            else:
                listener.resume()

    async def drain(self, seconds: float) -> None:
        """Accept no more and wait until no connection is left, at most `seconds`.

        A request may be on its way on a connection that looks idle. So idle ones are closed only after a while.
        """
        for listener in self._listeners.values():
            listener.ask_to_leave()
        await asyncio.sleep(min(HANDSHAKE_GRACE, seconds))
        for listener in self._listeners.values():
            listener.stop_accepting()
        await self._wait_for_no_connection(min(IDLE_GRACE, seconds))
        for listener in self._listeners.values():
            listener.drain()
        await self._wait_for_no_connection(seconds - IDLE_GRACE)

    async def _wait_for_no_connection(self, seconds: float) -> None:
        """Looked at now and then: a connection that closes has better things to do than to tell."""
        end = clock.monotonic() + seconds
        while clock.monotonic() < end:
            await asyncio.sleep(_LOOK_AGAIN)  # first of all: what was just accepted is not counted yet
            if not self.connections_active:
                return
