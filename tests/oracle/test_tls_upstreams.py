"""Upstreams that are not who they should be: 503, and not a byte of the request to them, by Envoy and by pyproxy."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.oracle.tls_proxies import OWNERS, Json, Proxy, transport, two_proxies
from tests.server.bootstraps import bootstrap, endpoint, file_log, listener, manager, static_cluster
from tests.support.identity import FUTURE, PAST, Identity
from tests.support.ports import LOOPBACK
from tests.support.tcp_peer import Peer
from tests.support.tls_visit import TLS12, TLS13

NAME = x509.DNSName("up.test")
CLIENT_AUTH = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SECRET = "do-not-tell"
LOG = "%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON%"
pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("tls-upstreams")]


class Impostor:
    """An upstream that answers whoever asks it, and keeps what it was told."""

    def __init__(self, who: Identity | None, directory: Path, name: str) -> None:
        self.told = b""
        self.came = 0
        self.context: ssl.SSLContext | None = None
        if who is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.set_ciphers("DEFAULT:@SECLEVEL=0")
            self.context.load_cert_chain(*who.save(directory, name))
        self._lock = threading.Lock()
        self.peer = Peer(self._serve)

    def _serve(self, plain: socket.socket) -> None:
        with self._lock:
            self.came += 1
        plain.settimeout(5)
        if self.context is None:  # answers the hello as one that takes it for a bad request
            self._hear(plain, b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", after=b"")
            return
        with self.context.wrap_socket(plain, server_side=True) as tls:
            self._hear(tls, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", after=b"\r\n\r\n")

    def _hear(self, sock: socket.socket, answer: bytes, after: bytes) -> None:
        head = b""
        while data := sock.recv(65536):
            with self._lock:
                self.told += data
            head += data
            if head.endswith(after):
                sock.sendall(answer)
                head = b""


Row = Callable[[Identity], Identity | None]

# (who answers, whether Envoy talks to it, whether we do)
ROWS: dict[str, tuple[Row, bool, bool]] = {
    "good": (lambda root: root.issue("a", NAME), True, True),
    "wrong name": (lambda root: root.issue("up.test", x509.DNSName("other.test")), False, False),
    "name with more behind it": (lambda root: root.issue("a", x509.DNSName("up.test.evil")), False, False),
    "name of another kind": (
        lambda root: root.issue("a", x509.UniformResourceIdentifier("up.test")),
        False,
        False,
    ),
    "common name only": (lambda root: root.issue("up.test"), False, False),
    "name with a NUL": (lambda root: root.issue("a", x509.DNSName("up.test\0.evil")), False, False),
    "expired": (lambda root: root.issue("a", NAME, days=PAST), False, False),
    "not yet valid": (lambda root: root.issue("a", NAME, days=FUTURE), False, False),
    "self-signed": (lambda root: Identity.root("a", NAME, ca=False), False, False),
    "other authority": (lambda root: Identity.root("root").issue("a", NAME), False, False),
    "issued by a leaf": (lambda root: root.issue("b", NAME).issue("a", NAME), False, False),
    "for clients only": (lambda root: root.issue("a", NAME, usages=CLIENT_AUTH), False, False),
    "short key": (lambda root: root.issue("a", NAME, rsa_bits=1024), True, False),
    "plain text": (lambda root: None, False, False),
}

# What both of them put into the access log, among other words.
REASONS = {
    "expired": "certificate_has_expired",
    "not yet valid": "certificate_is_not_yet_valid",
    "self-signed": "self_signed_certificate",
    "issued by a leaf": "CERTIFICATE_VERIFY_FAILED",
    "wrong name": "verify_cert_failed:_SAN_matcher",
    "plain text": "WRONG_VERSION_NUMBER",
}


@pytest.fixture(scope="module")
def impostors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Identity, dict[str, Impostor]]]:
    root, directory = Identity.root("root"), tmp_path_factory.mktemp("impostors")
    made = {name: Impostor(who(root), directory, f"{at}") for at, (name, (who, _, _)) in enumerate(ROWS.items())}
    yield root, made
    for one in made.values():
        one.peer.close()


@pytest.fixture(scope="module")
def proxies(
    tmp_path_factory: pytest.TempPathFactory, impostors: tuple[Identity, dict[str, Impostor]]
) -> Iterator[dict[str, Proxy]]:
    root, upstreams = impostors
    names = {"match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": NAME.value}}]}
    tls = transport("Upstream", {"validation_context": {"trusted_ca": {"inline_string": root.pem}, **names}})

    def make(proxy: Proxy) -> Json:
        log = file_log(str(proxy.directory / "access.log"), LOG)
        web = listener("web", proxy.ports["web"], manager("web", {}, access_log=[log]))
        hosts = web["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
        hosts[0]["routes"] = [
            {"match": {"prefix": f"/{name.replace(' ', '-')}/"}, "route": {"cluster": name}} for name in ROWS
        ]
        clusters = [
            static_cluster(name, endpoint(one.peer.port), transport_socket=tls) for name, one in upstreams.items()
        ]
        return bootstrap([web], clusters)

    yield from two_proxies(tmp_path_factory.mktemp("upstreams"), ("web",), make)


@pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("owner", OWNERS)
def test_who_is_not_talked_to(
    proxies: dict[str, Proxy],
    impostors: tuple[Identity, dict[str, Impostor]],
    owner: str,
    row: str,
    version: ssl.TLSVersion,
) -> None:
    proxy, upstream = proxies[owner], impostors[1][row]
    _, by_envoy, by_us = ROWS[row]
    served = by_envoy if owner == "envoy" else by_us
    if upstream.context is not None:
        upstream.context.maximum_version = version
    upstream.told, before = b"", upstream.came
    path = f"/{row.replace(' ', '-')}/{version.name}"
    connection = http.client.HTTPConnection(LOOPBACK, proxy.ports["web"], timeout=10)
    connection.request("GET", path, headers={"secret": SECRET})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert response.status == (200 if served else 503), body
    assert (SECRET.encode() in upstream.told) is served
    log = f"{path} 200 - -\n" if served else f"{path} 503 UF TLS_error:"
    _eventually(lambda: log in _logged(proxy))
    assert REASONS.get(row, "") in _logged(proxy).partition(log)[2].partition("\n")[0].replace("self-s", "self_s")
    if not served:
        assert b"GET" not in upstream.told
        assert upstream.context is None or upstream.told == b""
        assert upstream.came > before
        assert body.endswith(b"reset reason: remote connection failure")


def _logged(proxy: Proxy) -> str:
    log = proxy.directory / "access.log"
    return log.read_text() if log.exists() else ""


def _eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)
