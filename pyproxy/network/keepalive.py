"""TCP keep-alive of one socket: on listen sockets, whose connections inherit it, and on upstream connections."""

from __future__ import annotations

import socket

_OPTIONS = (socket.TCP_KEEPCNT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)


def keep_alive(sock: socket.socket, keepalive: tuple[int, int, int]) -> None:
    """`keepalive` is (probes, seconds idle, seconds between probes); 0 keeps the system's value."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in zip(_OPTIONS, keepalive, strict=True):
        if value:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
