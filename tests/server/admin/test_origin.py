from __future__ import annotations

import pytest

from pyproxy.config.address import AddressConfig
from pyproxy.server.admin.origin import is_local_name, is_loopback


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LOCALHOST:9901", True),
        ("app.localhost:80", True),
        ("127.0.0.1:9901", True),
        ("[::1]:9901", True),
        ("[::1]", True),
        ("10.0.0.7", True),
        ("", True),
        ("attacker.example", False),
        ("attacker.example:9901", False),
        ("localhost.attacker.example", False),
        ("127.0.0.1.attacker.example:9901", False),
    ],
)
def test_the_names_that_only_this_machine_gives_us(host: str, local: bool) -> None:
    assert is_local_name(host) is local


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        (AddressConfig("127.0.0.1", 1), True),
        (AddressConfig("127.8.8.8", 1), True),
        (AddressConfig("::1", 1), True),
        (AddressConfig("0.0.0.0", 1), False),
        (AddressConfig("::", 1), False),
        (AddressConfig("10.0.0.7", 1), False),
        (AddressConfig(pipe="/run/admin"), False),
    ],
)
def test_addresses(address: AddressConfig, loopback: bool) -> None:
    assert is_loopback(address) is loopback
