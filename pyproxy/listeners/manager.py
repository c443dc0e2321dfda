"""The listeners of one worker: added, changed and drained from what the configuration says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Mapping

from pyproxy import clock
from pyproxy.config.listener import ListenerConfig
from pyproxy.listeners.filter_chain import FilterChain
from pyproxy.listeners.listener import Listener, SocketKey
from pyproxy.network.incoming import Address
from pyproxy.runtime import Runtime
from pyproxy.tasks import spawn

HANDSHAKE_GRACE = 0.1
"""Seconds: nobody may begin a new handshake any more; those that were under way can complete in this time."""
IDLE_GRACE = 1.0
"""Seconds that a connection without a request is kept when draining."""
_LOOK_AGAIN = 0.02
_LOOK_FOR_LEAVERS = 0.25


class ListenerManager:
    """Name -> Listener. `drain_seconds`: what connections of listeners and chains that are gone get to finish."""

    def __init__(self, runtime: Runtime, drain_seconds: float = 600.0) -> None:
        self._runtime = runtime
        self._drain_seconds = drain_seconds
        self._listeners: dict[str, Listener] = {}
        self._by_address: dict[Address, Listener] | None = None
        """Made when it is asked for."""
        self._leaving: list[Listener] = []
        self._leaving_chains: list[FilterChain] = []
        self._spare: dict[SocketKey, socket.socket] = {}
        """Sockets that no listener accepts from yet."""

    def offer(self, key: SocketKey, sock: socket.socket) -> None:
        """A listen socket for a listener that is to come."""
        unused = self._spare.pop(key, None)
        if unused is not None:
            unused.close()
        self._spare[key] = sock

    async def apply(self, configs: tuple[ListenerConfig, ...], sockets: Mapping[SocketKey, socket.socket]) -> None:
        """Make the listeners be what `configs` say. Unchanged ones are left alone."""
        for key, sock in sockets.items():
            self.offer(key, sock)
        wanted = {config.name for config in configs}
        for name in self._listeners.keys() - wanted:
            self.remove(name)
        for config in configs:
            await self.put(config)

    async def put(self, config: ListenerConfig) -> None:
        """Add or change one. Raises OSError and leaves everything as it is, and LookupError without its sockets."""
        listener = self._listeners.get(config.name)
        if listener is not None and listener.config == config:
            return
        held = {} if listener is None else listener.sockets
        self._by_address = None
        for key in config.socket_keys:
            if key not in held and key not in self._spare and self._holder(key) is None:
                raise LookupError(f"there is no socket for {key}")
        if listener is None:
            listener = Listener(config, self._runtime, self._of_address)
            self._listeners[config.name] = listener
        else:
            self._let_go(await listener.update(config))
        if config.internal:
            self._runtime.internal.open(config.name, listener.take_internal)
        else:
            self._runtime.internal.close(config.name)
        gone = held.keys() - set(config.socket_keys)
        await listener.listen({key: self._take(key) for key in config.socket_keys if key not in held})
        if gone:
            _ = spawn(self._stop_sockets(listener, gone), "stop-sockets")

    def remove(self, name: str) -> None:
        """Accept no more once those whose handshake was under way are in; connections are asked to leave, and end
        with the time to drain."""
        self._by_address = None
        listener = self._listeners.pop(name, None)
        self._runtime.internal.close(name)
        if listener is not None:
            listener.ask_to_leave()
            self._leaving.append(listener)
            _ = spawn(self._see_off(listener), "drain-listener")

    def sockets_of(self, name: str) -> list[socket.socket]:
        listener = self._listeners.get(name)
        return [] if listener is None else list(listener.sockets.values())

    def _take(self, key: SocketKey) -> socket.socket:
        """A spare socket, or one that a listener has which goes or moves away."""
        spare = self._spare.pop(key, None)
        if spare is not None:
            return spare
        holder = self._holder(key)
        assert holder is not None
        return holder.give_up(key)

    def _holder(self, key: SocketKey) -> Listener | None:
        return next((one for one in (*self._listeners.values(), *self._leaving) if key in one.sockets), None)

    async def _stop_sockets(self, listener: Listener, keys: Collection[SocketKey]) -> None:
        await asyncio.sleep(HANDSHAKE_GRACE)
        listener.stop_accepting([key for key in keys if key in listener.sockets])

    async def _see_off(self, listener: Listener) -> None:
        await asyncio.sleep(HANDSHAKE_GRACE)
        listener.stop_accepting()
        await _until_empty(listener, self._drain_seconds)
        listener.close()
        self._leaving.remove(listener)

    def _let_go(self, chains: list[FilterChain]) -> None:
        for chain in chains:
            chain.terminal.ask_to_leave()
            self._leaving_chains.append(chain)
            _ = spawn(self._see_off_chain(chain), "drain-filter-chain")

    async def _see_off_chain(self, chain: FilterChain) -> None:
        await _until_empty(chain, self._drain_seconds)
        chain.end()
        self._leaving_chains.remove(chain)

    def _of_address(self, address: Address) -> Listener | None:
        """The listener of an address, or else of its port on all addresses (Envoy: use_original_dst)."""
        host, port = address
        if self._by_address is None:
            self._by_address = {
                (one.host, one.port): listener
                for listener in reversed(self._listeners.values())
                for one in listener.config.addresses
            }
        for wanted in (host, "0.0.0.0", "::"):  # noqa: S104 - nothing is bound to it
            found = self._by_address.get((wanted, port))
            if found is not None:
                return found
        return None

    @property
    def connections_active(self) -> int:
        all_of_them: list[Listener | FilterChain] = [*self._listeners.values(), *self._leaving, *self._leaving_chains]
        return sum(one.connections for one in all_of_them)

    @property
    def leaving(self) -> tuple[int, int]:
        """Listeners, and filter chains of listeners that stay, whose connections are ending."""
        return len(self._leaving), len(self._leaving_chains)

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
        for listener in (*self._listeners.values(), *self._leaving):
            listener.drain()
        await self._wait_for_no_connection(seconds - IDLE_GRACE)

    async def _wait_for_no_connection(self, seconds: float) -> None:
        """Looked at now and then: a connection that closes has better things to do than to tell."""
        end = clock.monotonic() + seconds
        while clock.monotonic() < end:
            await asyncio.sleep(_LOOK_AGAIN)  # first of all: what was just accepted is not counted yet
            if not self.connections_active:
                return


async def _until_empty(one: Listener | FilterChain, seconds: float) -> None:
    end = clock.monotonic() + seconds
    while clock.monotonic() < end:
        await asyncio.sleep(_LOOK_FOR_LEAVERS)
        if not one.connections:
            return
