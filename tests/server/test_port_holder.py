from __future__ import annotations

import os
import socket

import pytest

from pyproxy.server.port_holder import holders_of
from tests.support.ports import LOOPBACK


@pytest.mark.parametrize("host", [LOOPBACK, "::1"])
def test_who_listens_is_found(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        (holder,) = holders_of(port)
        assert holder.startswith(f"pid {os.getpid()} (")
    assert holders_of(port) == []


def test_a_connection_is_not_a_listener() -> None:
    with socket.create_server((LOOPBACK, 0)) as server, socket.create_connection(server.getsockname()) as connection:
        assert holders_of(connection.getsockname()[1]) == []
