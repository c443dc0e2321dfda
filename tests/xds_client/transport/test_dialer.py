from __future__ import annotations

import pytest

from pyproxy.config.address import AddressConfig
from pyproxy.xds_client.transport.dialer import target_address


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("localhost:5678", AddressConfig("localhost", 5678)),
        ("dns:///xds.example:443", AddressConfig("xds.example", 443)),
        ("dns://1.1.1.1/xds.example:80", AddressConfig("xds.example", 80)),
        ("xds.example", AddressConfig("xds.example", 443)),
        ("ipv4:10.0.0.1:80", AddressConfig("10.0.0.1", 80)),
        ("[::1]:80", AddressConfig("::1", 80)),
        ("unix:/run/x", AddressConfig(pipe="/run/x")),
        ("unix:///run/x", AddressConfig(pipe="/run/x")),
        ("unix-abstract:x", AddressConfig(pipe="@x")),
    ],
)
def test_targets(target: str, address: AddressConfig) -> None:
    assert target_address(target) == address
