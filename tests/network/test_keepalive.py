"""TCP keep-alive as the system sees it."""

from __future__ import annotations

import socket

from pyproxy.network.keepalive import keep_alive


def options(sock: socket.socket) -> tuple[int, int, int]:
    found = [sock.getsockopt(socket.IPPROTO_TCP, one) for one in (socket.TCP_KEEPCNT, socket.TCP_KEEPIDLE)]
    return found[0], found[1], sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)


def test_what_is_said_is_set_and_the_rest_is_the_systems() -> None:
    with socket.socket() as plain, socket.socket() as kept:
        keep_alive(kept, (3, 9, 0))
        assert kept.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert options(kept) == (3, 9, options(plain)[2])
