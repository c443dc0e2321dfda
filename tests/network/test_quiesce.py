from __future__ import annotations

import contextlib
import errno
import socket

import pytest

from pyproxy.network.quiesce import quiesce
from tests.support.ports import LOOPBACK


@pytest.mark.parametrize("host", [LOOPBACK, "::1"])
def test_connections_live_on_and_new_ones_do_not_begin(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server((host, 0), family=family))
        accepted_before = stack.enter_context(socket.create_connection(server.getsockname()[:2]))
        peer, _ = server.accept()
        stack.enter_context(peer)
        queued = stack.enter_context(socket.create_connection(server.getsockname()[:2]))

        assert quiesce(server)

        accepted_before.sendall(b"old")
        assert peer.recv(10) == b"old"
        queued.sendall(b"queued")
        late = stack.enter_context(socket.socket(family))
        late.setblocking(False)
        assert late.connect_ex(server.getsockname()[:2]) == errno.EINPROGRESS

        taken, _ = server.accept()
        stack.enter_context(taken)
        assert taken.recv(10) == b"queued"
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
        server.close()
        taken.sendall(b"answer")
        assert queued.recv(10) == b"answer"


def test_a_unix_socket_has_no_handshake() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not quiesce(ours)
