"""Clients that have to be refused, and what is refused of TLS itself: by Envoy and by pyproxy."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.oracle.tls_proxies import API, OWNERS, Counting, Json, Proxy, own, transport, two_proxies
from tests.server.bootstraps import bootstrap, endpoint, file_log, listener, manager, static_cluster
from tests.support.identity import FUTURE, PAST, Identity
from tests.support.ports import LOOPBACK
from tests.support.tcp_peer import Peer
from tests.support.tls_visit import TLS12, TLS13, Visit, client, visit

GOOD = x509.UniformResourceIdentifier("spiffe://test/client")
SAN = {"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": GOOD.value}}]}
pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("tls-refusals")]
both_versions = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])


class Pki:
    """Who issues what."""

    def __init__(self) -> None:
        self.root = Identity.root("root")
        self.server = self.root.issue("server", x509.DNSName("server.test"))
        self.server_rsa = self.root.issue("server", x509.DNSName("server.test"), rsa_bits=2048)
        self.good = self.root.issue("client", GOOD)
        self.revoked = self.root.issue("revoked", GOOD)
        self.between = self.root.issue("between", ca=True)
        self.crl = self.root.revoke(self.revoked)

    def names_only(self, *sans: x509.GeneralName) -> Identity:
        return self.root.issue(GOOD.value, *sans)


Row = Callable[[Pki], Identity | None]
CLIENT_AUTH, SERVER_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH

# (the listener, who comes, whether Envoy serves it, whether we do)
ROWS: dict[str, tuple[str, Row, bool, bool]] = {
    "good": ("checked", lambda pki: pki.good, True, True),
    "no certificate": ("checked", lambda pki: None, False, False),
    "expired": ("checked", lambda pki: pki.root.issue("a", GOOD, days=PAST), False, False),
    "not yet valid": ("checked", lambda pki: pki.root.issue("a", GOOD, days=FUTURE), False, False),
    "other authority": ("checked", lambda pki: Identity.root("other").issue("a", GOOD), False, False),
    "other authority of the same name": ("checked", lambda pki: Identity.root("root").issue("a", GOOD), False, False),
    "self-signed": ("checked", lambda pki: Identity.root("a", GOOD, ca=False), False, False),
    "intermediate": ("checked", lambda pki: pki.between.issue("a", GOOD), True, True),
    "missing intermediate": ("checked", lambda pki: pki.between.issue("a", GOOD).alone(), False, False),
    "expired intermediate": (
        "checked",
        lambda pki: pki.root.issue("old", ca=True, days=PAST).issue("a", GOOD),
        False,
        False,
    ),
    "wrong name": ("checked", lambda pki: pki.names_only(x509.UniformResourceIdentifier("a://b")), False, False),
    "name with more behind it": (
        "checked",
        lambda pki: pki.names_only(x509.UniformResourceIdentifier(f"{GOOD.value}-evil")),
        False,
        False,
    ),
    "name in capitals": (
        "checked",
        lambda pki: pki.names_only(x509.UniformResourceIdentifier(GOOD.value.upper())),
        False,
        False,
    ),
    "name of another kind": ("checked", lambda pki: pki.names_only(x509.DNSName(GOOD.value)), False, False),
    "common name only": ("checked", lambda pki: pki.names_only(), False, False),
    "name with a NUL": (
        "checked",
        lambda pki: pki.names_only(x509.UniformResourceIdentifier(f"{GOOD.value}\0evil")),
        False,
        False,
    ),
    "good name beside one with a line end": (
        "checked",
        lambda pki: pki.names_only(GOOD, x509.UniformResourceIdentifier("a://b\r\nx-evil: 1")),
        True,
        False,
    ),
    "good name beside one with a NUL": (
        "checked",
        lambda pki: pki.names_only(GOOD, x509.UniformResourceIdentifier("a://b\0")),
        True,
        False,
    ),
    "for servers only": ("checked", lambda pki: pki.root.issue("a", GOOD, usages=(SERVER_AUTH,)), False, False),
    "for servers and clients": (
        "checked",
        lambda pki: pki.root.issue("a", GOOD, usages=(SERVER_AUTH, CLIENT_AUTH)),
        True,
        True,
    ),
    "issued by a leaf": ("checked", lambda pki: pki.good.issue("a", GOOD), False, False),
    "short key": ("checked", lambda pki: pki.root.issue("a", GOOD, rsa_bits=1024), True, False),
    "not revoked": ("revoking", lambda pki: pki.good, True, True),
    "revoked": ("revoking", lambda pki: pki.revoked, False, False),
    "issuer without a list": ("revoking", lambda pki: pki.between.issue("a", GOOD), False, False),
}


class Scene:
    """The two proxies and what stands behind them."""

    def __init__(self, pki: Pki, count: Counting, proxies: dict[str, Proxy]) -> None:
        self.pki = pki
        self.count = count
        self.proxies = proxies

    def visits(self, on: str, context: ssl.SSLContext, **more: Any) -> tuple[Visit, Visit]:
        """By Envoy and by pyproxy."""
        envoy, pyproxy = (visit(self.proxies[name].ports[on], context, **more) for name in OWNERS)
        return envoy, pyproxy

    def serves_others(self) -> bool:
        return all(one.status == 200 for one in self.visits("checked", client(self.pki.good)))


def _listener(proxy: Proxy, name: str, common: Json, **chain: Any) -> Json:
    log = file_log(str(proxy.directory / f"{name}.log"), "[%REQUESTED_SERVER_NAME%]")
    web = listener(name, proxy.ports[name], manager(name, {"route": {"cluster": "up"}}, access_log=[log]))
    web["filter_chains"][0] |= {"transport_socket": transport("Downstream", common, **REQUIRED), **chain}
    return web


REQUIRED = {"require_client_certificate": True}


def secrets(proxy: Proxy, ca: str, crl: str) -> Json:
    """Replaces, all at once, the file that tells the listener `replaced` whom to trust."""
    checks: Json = {"trusted_ca": {"inline_string": ca}, "crl": {"inline_string": crl}, **SAN}
    secret = {"@type": f"{API}Secret", "name": "who", "validation_context": checks}
    path, fresh = proxy.directory / "sds.json", proxy.directory / "sds.new"
    fresh.write_text(json.dumps({"resources": [secret]}))
    fresh.rename(path)
    return {"name": "who", "sds_config": {"path_config_source": {"path": str(path)}}}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    pki, count = Pki(), Counting()
    upstream = Peer(count)

    def make(proxy: Proxy) -> Json:
        certificates = {"tls_certificates": [own(pki.server), own(pki.server_rsa)]}
        checked = {"trusted_ca": {"inline_string": pki.root.pem}, **SAN}
        revoking = {**checked, "crl": {"inline_string": pki.crl}}
        from_file = {"validation_context_sds_secret_config": secrets(proxy, pki.root.pem, pki.crl)}
        return bootstrap(
            [
                _listener(proxy, "checked", {**certificates, "validation_context": checked}),
                _listener(proxy, "revoking", {**certificates, "validation_context": revoking}),
                _listener(proxy, "replaced", {**certificates, **from_file}),
                _listener(
                    proxy,
                    "hurried",
                    {**certificates, "validation_context": checked},
                    transport_socket_connect_timeout="1s",
                ),
            ],
            [static_cluster("up", endpoint(upstream.port))],
            node={"id": "a", "cluster": "a"},  # Envoy has no SDS without one
        )

    names = ("checked", "revoking", "replaced", "hurried")
    for proxies in two_proxies(tmp_path_factory.mktemp("refusals"), names, make):
        yield Scene(pki, count, proxies)
    upstream.close()


@both_versions
@pytest.mark.parametrize("row", ROWS)
def test_who_is_refused(scene: Scene, row: str, version: ssl.TLSVersion) -> None:
    on, who, by_envoy, by_us = ROWS[row]
    before = scene.count.requests
    envoy, pyproxy = scene.visits(on, client(who(scene.pki), version))
    print(f"{row}: Envoy {envoy.status} {envoy.why}, pyproxy {pyproxy.status} {pyproxy.why}")
    assert (envoy.status == 200, pyproxy.status == 200) == (by_envoy, by_us), (envoy, pyproxy)
    assert scene.count.requests - before == by_envoy + by_us
    assert scene.serves_others()


OLD = {"TLS 1.0": ssl.TLSVersion.TLSv1, "TLS 1.1": ssl.TLSVersion.TLSv1_1}
WEAK = (
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA384",
    "AES128-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "DHE-RSA-AES128-GCM-SHA256",
    "ADH-AES128-GCM-SHA256",
    "NULL-SHA256",
)

STRONG = tuple(
    f"ECDHE-{key}-{how}"
    for key in ("ECDSA", "RSA")
    for how in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
)


@pytest.mark.parametrize("old", OLD)
def test_old_versions_are_refused(scene: Scene, old: str) -> None:
    envoy, pyproxy = scene.visits("checked", client(scene.pki.good, OLD[old]))
    assert "PROTOCOL_VERSION" in envoy.why
    assert (envoy.status, pyproxy.status) == (0, 0)


@pytest.mark.parametrize("cipher", WEAK)
def test_weak_ciphers_are_refused(scene: Scene, cipher: str) -> None:
    envoy, pyproxy = scene.visits("checked", client(scene.pki.good, TLS12, f"{cipher}:@SECLEVEL=0"))
    assert envoy.why == "SSLV3_ALERT_HANDSHAKE_FAILURE"
    assert (envoy.status, pyproxy.status) == (0, 0)


@pytest.mark.parametrize("cipher", STRONG)
def test_strong_ciphers_are_not(scene: Scene, cipher: str) -> None:
    for one in scene.visits("checked", client(scene.pki.good, TLS12, cipher)):
        assert (one.status, one.cipher) == (200, cipher)


@pytest.mark.parametrize("liked", ["AES128", "AES256", "CHACHA20"])
@pytest.mark.parametrize("key", ["ECDSA", "RSA"])
def test_of_the_strong_ciphers_the_same_is_chosen(scene: Scene, key: str, liked: str) -> None:
    """Whatever the client likes best."""
    ciphers = sorted((one for one in STRONG if key in one), key=lambda one: liked not in one)
    envoy, pyproxy = scene.visits("checked", client(scene.pki.good, TLS12, ":".join(ciphers)))
    assert pyproxy.cipher == envoy.cipher


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl, which can renegotiate")
@pytest.mark.parametrize("owner", OWNERS)
def test_renegotiation_is_refused(scene: Scene, owner: str, tmp_path: Any) -> None:
    chain, key = scene.pki.good.save(tmp_path, "client")
    address = f"{LOOPBACK}:{scene.proxies[owner].ports['checked']}"
    before = scene.count.requests
    command = ["openssl", "s_client", "-tls1_2", "-connect", address, "-cert", chain, "-key", key]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as asking:
        assert asking.stdin is not None
        asking.stdin.write("R\n")  # how this program is told to renegotiate
        asking.stdin.flush()
        time.sleep(0.5)
        with contextlib.suppress(OSError):
            asking.stdin.write("GET / HTTP/1.1\nhost: a\nconnection: close\n\n")
            asking.stdin.flush()
        said, _ = asking.communicate(timeout=10)
    assert "RENEGOTIATING" in said
    assert "HTTP/1.1 200" not in said
    assert scene.count.requests == before
    assert scene.serves_others()


@both_versions
@pytest.mark.parametrize("how", ["revoked", "other authority"])
@pytest.mark.parametrize("owner", OWNERS)
def test_a_session_does_not_outlive_what_it_was_based_on(
    scene: Scene, owner: str, how: str, version: ssl.TLSVersion
) -> None:
    pki, proxy = scene.pki, scene.proxies[owner]
    port, context = proxy.ports["replaced"], client(pki.good, version)
    _eventually(lambda: visit(port, context).status == 200)
    session = visit(port, context).session
    again = visit(port, context, session=session)
    assert (again.status, again.resumed) == (200, True)
    try:
        other = Identity.root("other")
        ca, crl = (pki.root, pki.root.revoke(pki.good)) if how == "revoked" else (other, other.revoke())
        secrets(proxy, ca.pem, crl)
        _eventually(lambda: visit(port, context).status == 0)
        before = scene.count.requests
        assert visit(port, context, session=session).status == 0
        assert scene.count.requests == before
    finally:
        secrets(proxy, pki.root.pem, pki.crl)


@pytest.mark.parametrize("owner", OWNERS)
def test_a_handshake_may_not_take_forever(scene: Scene, owner: str) -> None:
    port, context = scene.proxies[owner].ports["hurried"], client(scene.pki.good)
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    hello = outgoing.read()
    begun = time.monotonic()
    with socket.create_connection((LOOPBACK, port), timeout=5) as slow:
        slow.settimeout(0.5)
        for at in range(8):
            slow.sendall(hello[at : at + 1])
            assert visit(port, context).status == 200
            try:
                assert slow.recv(100) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                pass
            break
        else:
            pytest.fail("it is still open")
    assert 0.8 < time.monotonic() - begun < 3


def _eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.1)
