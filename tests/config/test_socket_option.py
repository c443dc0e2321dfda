from __future__ import annotations

import socket
from typing import Any

import pytest

from pyproxy.config.listener import ListenerConfig
from pyproxy.config.socket_option import BOUND, LISTENING, PREBIND, SocketOption, fast_open
from pyproxy.network.socket_options import set_options
from tests.config.compiling import bootstrap, compiled, listener


def made(**fields: Any) -> ListenerConfig:
    values, faults, _ = compiled(bootstrap([listener(**fields)]))
    assert values is not None, faults
    return values.listeners[0]


def test_options_have_their_time() -> None:
    options = [
        {"level": 1, "name": 9, "int_value": 1},
        {"level": 6, "name": 13, "buf_value": "YQ==", "state": "STATE_BOUND", "description": "congestion"},
        {"level": 6, "name": 9, "int_value": 1, "type": {"datagram": {}}},
        {"level": 6, "name": 4, "int_value": 5, "state": "STATE_LISTENING", "type": {"stream": {}}},
    ]
    wanted = (
        SocketOption(1, 9, 1, PREBIND),
        SocketOption(6, 13, b"a", BOUND, "congestion"),
        SocketOption(6, 4, 5, LISTENING),
    )
    assert made(socket_options=options).options_at(0) == wanted


def test_another_address_can_have_others() -> None:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    option = {"level": 1, "name": 9, "int_value": 1}
    more = [{"address": address}, {"address": address, "socket_options": {"socket_options": []}}]
    config = made(socket_options=[option], tcp_fast_open_queue_length=3, additional_addresses=more)
    one = SocketOption(1, 9, 1)
    assert [config.options_at(at) for at in range(3)] == [(one, fast_open(3)), (one, fast_open(3)), (fast_open(3),)]


def test_an_option_has_a_value() -> None:
    _, faults, _ = compiled(bootstrap([listener(socket_options=[{"level": 1, "name": 9}])]))
    assert any("socket_options[0]" in fault for fault in faults)


def test_of_the_overload_manager_connections_are_limited() -> None:
    kind = (
        "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    )
    monitor = {"name": "m", "typed_config": {"@type": kind, "max_active_downstream_connections": 7}}
    values, _, report = compiled(bootstrap([listener()], overload_manager={"resource_monitors": [monitor]}))
    assert values is not None
    assert values.max_connections == 7
    other = {"name": "x", "typed_config": {"@type": "type.googleapis.com/google.protobuf.Struct", "value": {}}}
    values, _, report = compiled(bootstrap([listener()], overload_manager={"resource_monitors": [other]}))
    assert values is not None
    assert values.max_connections == 0
    assert any("resource_monitors" in str(one) for one in report.unhonoured)


def test_an_option_that_cannot_be_set_is_named() -> None:
    with socket.socket() as sock, pytest.raises(OSError, match=r"level 99, name 98.* cannot be set"):
        set_options(sock, [SocketOption(99, 98, 1)], PREBIND)
    with socket.socket() as sock:
        set_options(sock, [SocketOption(99, 98, 1, BOUND)], PREBIND)
