"""Connections with TLS, on transports of aiofastnet, where OpenSSL reads and writes the memory that the socket does.

asyncio's and uvloop's TLS copy every byte twice more and cost about a third more CPU per small message. For connections
without TLS uvloop's own transports are the cheaper ones.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

import aiofastnet

_BUFFER_BYTES: Final = 2 * (16 * 1024 + 64)
"""Of each direction of each connection, as long as it lives: two whole TLS records with what is around them."""

_NAMELESS: Final = "127.0.0.1"
"""Given as the name of a server, an address sends no name at all (RFC 6066 section 3)."""


def handle_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The exception handler of a loop with such connections: a peer that goes amid a handshake is nothing to report,
    since whoever opened the connection is told. (aiofastnet reports it, with a class where an error should be.)"""
    if context.get("exception") is not ConnectionResetError:
        loop.default_exception_handler(context)


async def accept_tls(
    loop: asyncio.AbstractEventLoop, factory: Callable[[], Any], sock: socket.socket, options: dict[str, Any]
) -> None:
    """Shake hands on a connection that was accepted. `options` name the context. Raises OSError (ssl.SSLError among
    them)."""
    if sock.family != socket.AF_UNIX:
        # aiofastnet does so only after the handshake, which Nagle's algorithm would hold up by 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await aiofastnet.connect_accepted_socket(loop, factory, sock, **_sized(options))


async def connect_tls(
    loop: asyncio.AbstractEventLoop, factory: Callable[[], Any], options: dict[str, Any], *, pipe: bool
) -> None:
    """Open a connection, or take the one that `options` bring, and shake hands; `pipe`: over a Unix socket. Raises
    OSError (ssl.SSLError among them)."""
    create: Any = aiofastnet.create_unix_connection if pipe else aiofastnet.create_connection
    await create(loop, factory, **_sized(options))


def _sized(options: dict[str, Any]) -> dict[str, Any]:
    if "server_hostname" in options:
        options = {**options, "server_hostname": options["server_hostname"] or _NAMELESS}
    return {**options, "ssl_incoming_bio_size": _BUFFER_BYTES, "ssl_outgoing_bio_size": _BUFFER_BYTES}
