"""Listen sockets that go from one process to another."""

from __future__ import annotations

import socket

from pyproxy.server.socket_transfer import make_transfer_pair, receive_sockets, send_sockets
from tests.support.ports import LOOPBACK


def test_sockets_arrive_with_their_names_and_in_order() -> None:
    sender, receiver = make_transfer_pair()
    first = [socket.create_server((LOOPBACK, 0)) for _ in range(3)]
    second = [socket.create_server((LOOPBACK, 0))]
    assert send_sockets(sender, [("a", first), ("b b", second)])
    came = list(receive_sockets(receiver))
    assert [name for name, _ in came] == ["a", "b b"]
    assert [sock.getsockname() for _, sockets in came for sock in sockets] == [
        sock.getsockname() for sock in (*first, *second)
    ]
    assert list(receive_sockets(receiver)) == []
    for sock in (*first, *second, *(one for _, sockets in came for one in sockets), sender, receiver):
        sock.close()


def test_one_who_is_gone_takes_nothing() -> None:
    sender, receiver = make_transfer_pair()
    receiver.close()
    with socket.create_server((LOOPBACK, 0)) as one:
        assert not send_sockets(sender, [("a", [one])])
    sender.close()
