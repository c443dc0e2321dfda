from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyproxy.config.address import AddressConfig
from pyproxy.config.listener import ListenerConfig
from pyproxy.server.sockets import CannotListen, ListenSockets, address_of, bind, open_listeners
from tests.support.ports import LOOPBACK

ANY_PORT = AddressConfig(LOOPBACK, 0)


def key(name: str, at: int = 0) -> str:
    """Of a listener on any port."""
    return f"{name}#{at} {ANY_PORT}"


KEY = key("web")


def listener(name: str, *addresses: AddressConfig, **more: object) -> ListenerConfig:
    return ListenerConfig(name, addresses or (ANY_PORT,), **more)  # type: ignore[arg-type]


@pytest.fixture
def opened() -> Iterator[list[ListenSockets]]:
    sockets: list[ListenSockets] = []
    yield sockets
    for one in sockets:
        one.close()


def test_each_worker_gets_a_socket_of_its_own_on_the_same_port(opened: list[ListenSockets]) -> None:
    sockets = open_listeners([listener("web")], 3)
    opened.append(sockets)
    own = [sockets.of_worker(index)[KEY] for index in range(3)]
    assert len({id(sock) for sock in own}) == 3
    assert {sock.getsockname() for sock in own} == {(LOOPBACK, sockets.addresses[KEY].port)}
    for sock in own:
        sock.listen()


def test_without_reuse_port_all_workers_share_one(opened: list[ListenSockets]) -> None:
    sockets = open_listeners([listener("web", reuse_port=False)], 3)
    opened.append(sockets)
    assert len({id(sockets.of_worker(index)[KEY]) for index in range(3)}) == 1


def test_further_addresses_of_a_listener_have_a_place_of_their_own(opened: list[ListenSockets]) -> None:
    sockets = open_listeners([listener("web", ANY_PORT, ANY_PORT)], 1)
    opened.append(sockets)
    assert set(sockets.of_worker(0)) == {key("web", 0), key("web", 1)}
    assert sockets.addresses[KEY].port != sockets.addresses[key("web", 1)].port


def test_a_worker_keeps_only_its_own(opened: list[ListenSockets]) -> None:
    sockets = open_listeners([listener("web"), listener("shared", reuse_port=False)], 2)
    opened.append(sockets)
    mine, other = sockets.of_worker(0), sockets.of_worker(1)
    sockets.close_except(0)
    assert mine[KEY].fileno() >= 0
    assert mine[key("shared", 0)].fileno() >= 0
    assert other[KEY].fileno() == -1


def test_a_retired_listener_is_not_given_to_a_later_worker(opened: list[ListenSockets]) -> None:
    sockets = open_listeners([listener("web"), listener("inside")], 1)
    opened.append(sockets)
    sockets.retire({key("inside")})
    assert set(sockets.of_worker(0)) == {key("web", 0)}
    assert key("inside", 0) in sockets.addresses


def test_every_address_that_cannot_be_bound_is_told_with_who_has_it(opened: list[ListenSockets]) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen) as failure:
            open_listeners(
                [
                    listener("good"),
                    listener("taken", AddressConfig(LOOPBACK, port), reuse_port=False),
                    listener("far", AddressConfig("192.0.2.77", 8080)),
                ],
                2,
            )
    taken_line, far_line = failure.value.reasons
    assert taken_line.startswith(f"listener 'taken': cannot listen on {LOOPBACK}:{port}: address already in use by pid")
    assert f"pid {os.getpid()} (" in taken_line
    assert far_line == (
        "listener 'far': cannot listen on 192.0.2.77:8080: cannot assign requested address"
        " (no interface of this machine has it)"
    )


def test_to_share_a_port_with_a_stranger_is_warned_about(
    opened: list[ListenSockets], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server((LOOPBACK, 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        opened.append(open_listeners([listener("web", AddressConfig(LOOPBACK, port))], 1))
    assert f"pid {os.getpid()}" in caplog.text
    assert f"already listens on port {port}" in caplog.text


def test_socket_options_of_a_listener_are_inherited_by_its_connections(opened: list[ListenSockets]) -> None:
    sockets = open_listeners([listener("web", tcp_keepalive=(4, 60, 0))], 1)
    opened.append(sockets)
    server = sockets.of_worker(0)[KEY]
    server.listen()
    with socket.create_connection(server.getsockname()):
        server.setblocking(True)
        accepted, _ = server.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 4
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_ipv6_takes_ipv4_only_where_it_is_asked_to() -> None:
    with bind(AddressConfig("::1")) as strict, bind(AddressConfig("::", ipv4_compat=True)) as compat:
        assert strict.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert compat.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
        assert str(address_of(strict)).startswith("[::1]:")


def test_a_unix_socket_that_an_earlier_run_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    bind(AddressConfig(pipe=str(path))).close()
    with bind(AddressConfig(pipe=str(path), mode=0o600)) as sock:
        assert address_of(sock) == AddressConfig(pipe=str(path))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_in_the_place_of_a_unix_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OSError, match="in use"):
        bind(AddressConfig(pipe=str(path)))
    assert path.read_text() == "data"


def test_an_abstract_unix_socket() -> None:
    with bind(AddressConfig(pipe=f"@pyproxy-test-{os.getpid()}")) as sock:
        assert str(address_of(sock)) == f"@pyproxy-test-{os.getpid()}"
