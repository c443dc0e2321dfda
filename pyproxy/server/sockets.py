"""The sockets that the proxy listens on. The supervisor opens them, so they outlive any worker and lose no connection.

With `reuse_port` each worker has a socket of its own and the kernel spreads connections over them; without it, and for
Unix sockets, all workers share one. The sockets are bound here; a worker calls `listen` when it is ready to accept.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pyproxy.config.address import AddressConfig
from pyproxy.config.listener import ListenerConfig
from pyproxy.config.socket_option import BOUND, PREBIND, SocketOption
from pyproxy.network.keepalive import keep_alive
from pyproxy.network.quiesce import quiesce
from pyproxy.network.socket_options import set_options
from pyproxy.server.port_holder import holders_of

log = logging.getLogger("pyproxy.server.sockets")

SocketKey = str
"""See `ListenerConfig.socket_keys`."""

# Not in the socket module: linux/in.h, linux/in6.h.
_IP_FREEBIND = 15
_IPV6_FREEBIND = 78
_IP_TRANSPARENT = 19
_IPV6_TRANSPARENT = 75


class CannotListen(Exception):
    """Addresses that could not be bound; one sentence each."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("\n".join(self.reasons))


class ListenSockets:
    """All listen sockets: for each address of each listener, one socket per worker, or one for all.

    `addresses` says where they really listen: with the ports that the system chose for port 0. It stays when the
    sockets are closed.
    """

    def __init__(self, by_key: Mapping[SocketKey, tuple[socket.socket, ...]] | None = None) -> None:
        self._by_key = dict(by_key or {})
        self.addresses = {key: address_of(sockets[0]) for key, sockets in self._by_key.items()}
        self.open = set(self._by_key)
        """Those that were not retired, also after `close`."""

    def of_worker(self, index: int) -> dict[SocketKey, socket.socket]:
        """What worker `index` accepts from."""
        return {key: sockets[index % len(sockets)] for key, sockets in self._by_key.items()}

    def close_except(self, index: int) -> None:
        """In worker `index`: drop the copies that belong to the others."""
        kept = {id(sock) for sock in self.of_worker(index).values()}
        for sockets in self._by_key.values():
            for sock in sockets:
                if id(sock) not in kept:
                    sock.close()

    def add(self, key: SocketKey, sockets: tuple[socket.socket, ...]) -> None:
        """Sockets that were opened later. In the supervisor: a worker that starts from now on gets them."""
        self._by_key[key] = sockets
        self.open.add(key)
        self.addresses[key] = address_of(sockets[0])

    def retire(self, keys: Collection[SocketKey] | None = None) -> None:
        """Take no new connections on these (None: on any). A worker that starts later does not get them."""
        gone = list(self._by_key) if keys is None else keys
        self.open.difference_update(gone)
        for sock in self._without(gone):
            quiesce(sock)
            sock.close()

    def close(self) -> None:
        """Drop this process's copies; other processes go on with theirs."""
        for sock in self._without(list(self._by_key)):
            sock.close()

    def _without(self, keys: Iterable[SocketKey]) -> list[socket.socket]:
        return [sock for key in keys for sock in self._by_key.pop(key, ())]


def open_listeners(listeners: Iterable[ListenerConfig], workers: int) -> ListenSockets:
    """Bind everything. Raises CannotListen with one sentence per address that failed."""
    opened: dict[SocketKey, tuple[socket.socket, ...]] = {}
    reasons: list[str] = []
    for listener in listeners:
        for key, address in zip(listener.socket_keys, listener.addresses, strict=False):
            try:
                opened[key] = open_address(listener, address, workers)
            except OSError as error:
                reasons.append(f"listener {listener.name!r}: {explain(address, error)}")
    sockets = ListenSockets(opened)
    if reasons:
        sockets.close()
        raise CannotListen(reasons)
    return sockets


def bind(
    address: AddressConfig, *, reuse_port: bool = False, prepare: Callable[[socket.socket], None] | None = None
) -> socket.socket:
    """A bound, non-blocking stream socket; `prepare` sets options before the bind. Raises OSError."""
    sock = socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if prepare is not None:
            prepare(sock)
        if address.pipe:
            _bind_pipe(sock, address)
        else:
            _bind_ip(sock, address, reuse_port)
    except BaseException:
        sock.close()
        raise
    return sock


def explain(address: AddressConfig, error: OSError) -> str:
    """Why an address cannot be bound, and who may be in the way."""
    reason = (error.strerror or str(error)).lower()
    if error.errno == errno.EADDRINUSE and not address.pipe:
        holders = holders_of(address.port)
        reason += f" by {', '.join(holders)}" if holders else " by a process that we may not look into"
    elif error.errno == errno.EACCES and not address.pipe and address.port < 1024:
        reason += " (ports below 1024 need the capability NET_BIND_SERVICE)"
    elif error.errno == errno.EADDRNOTAVAIL:
        reason += " (no interface of this machine has it)"
    return f"cannot listen on {address}: {reason}"


def address_of(sock: socket.socket) -> AddressConfig:
    """The address that a socket is bound to."""
    name = sock.getsockname()
    if isinstance(name, bytes):
        return AddressConfig(pipe=f"@{name[1:].decode('utf-8', 'backslashreplace')}")
    if isinstance(name, str):
        return AddressConfig(pipe=name)
    return AddressConfig(name[0], name[1])


def open_address(listener: ListenerConfig, address: AddressConfig, workers: int) -> tuple[socket.socket, ...]:
    """One socket per worker, or one for all. Raises OSError."""
    spread = listener.reuse_port and not address.pipe
    if spread and address.port:
        _warn_if_shared(listener, address)
    options = listener.options_at(listener.addresses.index(address))
    with contextlib.ExitStack() as undo:
        prepare = functools.partial(_set_options, listener, options)
        sockets = [undo.enter_context(bind(address, reuse_port=spread, prepare=prepare))]
        for _ in range(workers - 1 if spread else 0):
            # Port 0: the others take the port that the system chose for the first.
            same = replace(address, port=sockets[0].getsockname()[1])
            sockets.append(undo.enter_context(bind(same, reuse_port=True, prepare=prepare)))
        for sock in sockets:
            set_options(sock, options, BOUND)
        undo.pop_all()
    return tuple(sockets)


def _set_options(listener: ListenerConfig, options: Iterable[SocketOption], sock: socket.socket) -> None:
    set_options(sock, options, PREBIND)
    if sock.family == socket.AF_UNIX:
        return
    if listener.freebind:
        _set_by_family(sock, _IP_FREEBIND, _IPV6_FREEBIND)
    if listener.transparent:
        _set_by_family(sock, _IP_TRANSPARENT, _IPV6_TRANSPARENT)
    if listener.tcp_keepalive is not None:
        keep_alive(sock, listener.tcp_keepalive)


def _family(address: AddressConfig) -> socket.AddressFamily:
    if address.pipe:
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def _bind_ip(sock: socket.socket, address: AddressConfig, reuse_port: bool) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address.ipv4_compat else 1)
    sock.bind((address.host, address.port))


def _bind_pipe(sock: socket.socket, address: AddressConfig) -> None:
    """A path that is left from an earlier run is taken over, as Envoy does."""
    if address.pipe.startswith("@"):
        sock.bind(b"\0" + address.pipe[1:].encode())
        return
    with contextlib.suppress(FileNotFoundError):
        if Path(address.pipe).is_socket():
            Path(address.pipe).unlink()
    sock.bind(address.pipe)
    if address.mode:
        os.chmod(address.pipe, address.mode)  # noqa: PTH101  follows the name that was bound, as chmod(2) does


def _set_by_family(sock: socket.socket, option: int, option6: int) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, option6, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, option, 1)


def _warn_if_shared(listener: ListenerConfig, address: AddressConfig) -> None:
    """With SO_REUSEPORT a second proxy on the same port is no error: each silently gets a part of the connections."""
    holders = holders_of(address.port)
    if holders:
        log.warning(
            "listener '%s': %s already listens on port %d; where both use SO_REUSEPORT and the same address, each gets"
            " a part of the connections",
            listener.name,
            ", ".join(holders),
            address.port,
        )
