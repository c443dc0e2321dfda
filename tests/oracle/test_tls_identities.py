"""Clients known by their trust domain or by a pin, what they are shown, and sessions: by Envoy and by pyproxy."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.oracle.tls_proxies import OWNERS, Counting, Json, Proxy, own, transport, two_proxies
from tests.server.bootstraps import bootstrap, endpoint, listener, manager, static_cluster
from tests.support.identity import FUTURE, PAST, Identity
from tests.support.ports import LOOPBACK
from tests.support.tcp_peer import Peer
from tests.support.tls_visit import TLS12, TLS13, client, visit

VALIDATOR = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig"
pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("tls-identities")]
both_versions = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")


def svid(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


ONE, TWO = svid("spiffe://one.test/web"), svid("spiffe://two.test/web")
USES = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
SIGNS = x509.KeyUsage(True, False, False, False, False, True, False, False, False)


def leaf(issuer: Identity, *sans: x509.GeneralName, **more: Any) -> Identity:
    """One that SPIFFE lets pass."""
    return issuer.issue("a", *sans, **{"extensions": (USES,), **more})


class Pki:
    """Two trust domains, and servers."""

    def __init__(self) -> None:
        self.root = Identity.root("root")
        self.server = self.root.issue("server", x509.DNSName("server.test"))
        self.server_rsa = self.root.issue("server", x509.DNSName("server.test"), rsa_bits=2048)
        self.many = [
            self.root.issue("first", x509.DNSName("first.test")),
            self.root.issue("second", x509.DNSName("second.test"), x509.DNSName("*.wild.test")),
            self.root.issue("third", x509.DNSName("a.wild.test")),
            self.root.issue("rsa", x509.DNSName("second.test"), rsa_bits=2048),
            self.root.issue("common.test"),
        ]
        self.one, self.two = Identity.root("one"), Identity.root("two")
        self.between = self.one.issue("between", ca=True)
        self.pinned = Identity.root("pinned", ca=False)
        self.pinned_key = Identity.root("pinned key", ca=False)

    @property
    def hash_pin(self) -> str:
        return hashlib.sha256(self.pinned.certificate.public_bytes(Encoding.DER)).hexdigest()

    @property
    def key_pin(self) -> str:
        spki = self.pinned_key.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(spki).digest()).decode()


Row = Callable[[Pki], Identity | None]

# (the listener, who comes, whether Envoy serves it, whether we do)
ROWS: dict[str, tuple[str, Row, bool, bool]] = {
    "one": ("spiffe", lambda pki: leaf(pki.one, ONE), True, True),
    "two": ("spiffe", lambda pki: leaf(pki.two, TWO), True, True),
    "of a map": ("mapped", lambda pki: leaf(pki.two, TWO), True, True),
    "not in a map": ("mapped", lambda pki: leaf(pki.two, ONE), False, False),
    "by an intermediate": ("spiffe", lambda pki: leaf(pki.between, ONE), True, True),
    "without the intermediate": ("spiffe", lambda pki: leaf(pki.between, ONE).alone(), False, False),
    "one that speaks for two": ("spiffe", lambda pki: leaf(pki.one, TWO), False, False),
    "unknown domain": ("spiffe", lambda pki: leaf(pki.one, svid("spiffe://three.test/web")), False, False),
    "longer domain": ("spiffe", lambda pki: leaf(pki.one, svid("spiffe://one.test.evil/web")), False, False),
    "no path": ("spiffe", lambda pki: leaf(pki.one, svid("spiffe://one.test")), False, False),
    "other scheme": ("spiffe", lambda pki: leaf(pki.one, svid("https://one.test/web")), False, False),
    "second name": ("spiffe", lambda pki: leaf(pki.one, svid("a://b"), ONE), False, False),
    "no name": ("spiffe", lambda pki: leaf(pki.one), False, False),
    "an authority": ("spiffe", lambda pki: leaf(pki.one, ONE, ca=True), False, False),
    "for anything": ("spiffe", lambda pki: pki.one.issue("a", ONE), False, False),
    "may sign": ("spiffe", lambda pki: leaf(pki.one, ONE, extensions=(SIGNS,)), False, False),
    "expired": ("spiffe", lambda pki: leaf(pki.one, ONE, days=PAST), False, False),
    "not yet valid": ("spiffe", lambda pki: leaf(pki.one, ONE, days=FUTURE), False, False),
    "self-signed": ("spiffe", lambda pki: Identity.root("a", ONE, ca=False), False, False),
    "no certificate": ("spiffe", lambda pki: None, False, False),
    "for servers only": (
        "spiffe",
        lambda pki: leaf(pki.one, ONE, usages=(ExtendedKeyUsageOID.SERVER_AUTH,)),
        True,
        False,
    ),
    "wanted name": ("spiffe-named", lambda pki: leaf(pki.one, ONE), True, True),
    "unwanted name": ("spiffe-named", lambda pki: leaf(pki.one, svid("spiffe://one.test/db")), False, False),
    "expired but allowed": ("spiffe-old", lambda pki: leaf(pki.one, ONE, days=PAST), True, True),
    "pinned": ("pinned", lambda pki: pki.pinned, True, True),
    "pinned key": ("pinned", lambda pki: pki.pinned_key, True, True),
    "not pinned": ("pinned", lambda pki: Identity.root("pinned", ca=False), False, False),
    "pins and nobody": ("pinned", lambda pki: None, False, False),
    "names and nobody": ("named", lambda pki: None, False, False),
    "names and the wrong one": ("named", lambda pki: leaf(pki.one, TWO), False, False),
    "names and the right one": ("named", lambda pki: leaf(pki.one, ONE), True, True),
    "names and a stranger": ("named", lambda pki: Identity.root("x").issue("a", ONE), False, False),
    "pins and required": ("pinned-required", lambda pki: None, False, False),
    "required and pinned": ("pinned-required", lambda pki: pki.pinned, True, True),
    "untrusted": ("untrusted", lambda pki: Identity.root("stranger"), True, True),
    "untrusted nobody": ("untrusted", lambda pki: None, True, True),
    "old": ("old", lambda pki: leaf(pki.one, ONE, days=PAST), True, True),
    "old of a stranger": ("old", lambda pki: Identity.root("x").issue("a", ONE, days=PAST), False, False),
}


class Scene:
    def __init__(self, pki: Pki, count: Counting, proxies: dict[str, Proxy]) -> None:
        self.pki = pki
        self.count = count
        self.proxies = proxies


def _inline(text: str) -> Json:
    return {"inline_string": text}


def _spiffe(config: Json, **more: Any) -> Json:
    typed = {"@type": VALIDATOR, **config}
    return {"custom_validator_config": {"name": "envoy.tls.cert_validator.spiffe", "typed_config": typed}, **more}


def _bundle(root: Identity) -> Json:
    der = base64.b64encode(root.certificate.public_bytes(Encoding.DER)).decode()
    return {"sequence": 1, "keys": [{"kty": "EC", "use": "x509-svid", "x5c": [der]}]}


def _contexts(pki: Pki, proxy: Proxy) -> dict[str, tuple[Json, Json]]:
    """(the common part, the rest) by listener."""
    domains = [
        {"name": "one.test", "trust_bundle": _inline(pki.one.pem)},
        {"name": "two.test", "trust_bundle": _inline(pki.two.pem)},
    ]
    bundles = proxy.directory / "bundles" / "all.json"  # Envoy watches the directory
    bundles.parent.mkdir(exist_ok=True)
    bundles.write_text(json.dumps({"trust_domains": {"one.test": _bundle(pki.one), "two.test": _bundle(pki.two)}}))
    both = {"tls_certificates": [own(pki.server), own(pki.server_rsa)]}
    named = {"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": ONE.value}}]}
    pins = {"verify_certificate_hash": [pki.hash_pin], "verify_certificate_spki": [pki.key_pin]}

    def checked(validation: Json) -> Json:
        return {**both, "validation_context": validation}

    required = {"require_client_certificate": True}
    staples = [{"inline_bytes": _text(pki.root.vouch(one))} for one in (pki.server, pki.server_rsa)]
    stale = {"inline_bytes": _text(pki.root.vouch(pki.server, PAST))}
    stapled = [{**own(who), "ocsp_staple": one} for who, one in zip((pki.server, pki.server_rsa), staples, strict=True)]
    old = [{**own(pki.server), "ocsp_staple": stale}]
    return {
        "spiffe": (checked(_spiffe({"trust_domains": domains})), {}),
        "mapped": (checked(_spiffe({"trust_bundles": {"filename": str(bundles)}})), {}),
        "spiffe-named": (checked(_spiffe({"trust_domains": domains}, **named)), {}),
        "spiffe-old": (checked(_spiffe({"trust_domains": domains}, allow_expired_certificate=True)), {}),
        "named": (checked({"trusted_ca": _inline(pki.one.pem), **named}), {}),
        "pinned": (checked(pins), {}),
        "pinned-required": (checked(pins), required),
        "untrusted": (
            checked({"trusted_ca": _inline(pki.one.pem), "trust_chain_verification": "ACCEPT_UNTRUSTED"}),
            {},
        ),
        "old": (checked({"trusted_ca": _inline(pki.one.pem), "allow_expired_certificate": True}), required),
        "plain": (both, {}),
        "curves": ({**both, "tls_params": {"ecdh_curves": ["P-384", "X25519"]}}, {}),
        "algorithms": ({**both, "tls_params": {"signature_algorithms": ["rsa_pss_rsae_sha256"]}}, {}),
        "no-tickets": (both, {"disable_stateless_session_resumption": True}),
        "no-sessions": (
            both,
            {"disable_stateless_session_resumption": True, "disable_stateful_session_resumption": True},
        ),
        "short": (both, {"session_timeout": "90s"}),
        "own-keys": (both, {"session_ticket_keys": {"keys": [{"inline_bytes": _text(bytes(range(80)))}]}}),
        "stapled": ({"tls_certificates": stapled}, {}),
        "many": ({"tls_certificates": [own(one) for one in pki.many]}, {}),
        "stale": ({"tls_certificates": old}, {}),
        "stale-strict": ({"tls_certificates": old}, {"ocsp_staple_policy": "STRICT_STAPLING"}),
        "stale-must": ({"tls_certificates": old}, {"ocsp_staple_policy": "MUST_STAPLE"}),
    }


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    pki, count = Pki(), Counting()
    upstream = Peer(count)

    def make(proxy: Proxy) -> Json:
        listeners = []
        for name, (common, more) in _contexts(pki, proxy).items():
            one = listener(name, proxy.ports[name], manager(name, {"route": {"cluster": "up"}}))
            one["filter_chains"][0]["transport_socket"] = transport("Downstream", common, **more)
            listeners.append(one)
        return bootstrap(listeners, [static_cluster("up", endpoint(upstream.port))])

    directory = tmp_path_factory.mktemp("identities")
    for_names = Proxy.__new__(Proxy)
    for_names.directory = directory
    names = list(_contexts(pki, for_names))
    for proxies in two_proxies(directory, names, make):
        yield Scene(pki, count, proxies)
    upstream.close()


@both_versions
@pytest.mark.parametrize("row", ROWS)
def test_who_is_let_in(scene: Scene, row: str, version: ssl.TLSVersion) -> None:
    on, who, by_envoy, by_us = ROWS[row]
    before = scene.count.requests
    context = client(who(scene.pki), version)
    envoy, pyproxy = (visit(scene.proxies[name].ports[on], context) for name in OWNERS)
    print(f"{row}: Envoy {envoy.status} {envoy.why}, pyproxy {pyproxy.status} {pyproxy.why}")
    assert (envoy.status == 200, pyproxy.status == 200) == (by_envoy, by_us), (envoy, pyproxy)
    assert scene.count.requests - before == by_envoy + by_us


@both_versions
@pytest.mark.parametrize("on", ["spiffe", "pinned", "plain", "short", "no-tickets", "no-sessions", "own-keys"])
@pytest.mark.parametrize("owner", OWNERS)
def test_who_comes_back_resumes_the_session(scene: Scene, owner: str, on: str, version: ssl.TLSVersion) -> None:
    who = {"spiffe": leaf(scene.pki.one, ONE), "pinned": scene.pki.pinned}.get(on)
    context, port = client(who, version), scene.proxies[owner].ports[on]
    session = visit(port, context).session
    again = [visit(port, context, session=session) for _ in range(4)]
    assert {one.status for one in again} == {200}
    resumed = {one.resumed for one in again}
    if on == "no-sessions" or (on == "no-tickets" and version is TLS13):
        assert resumed == {False}
    elif on != "no-tickets":  # what is kept, each worker keeps for itself
        assert resumed == {True}


@both_versions
@pytest.mark.parametrize("owner", OWNERS)
def test_a_session_of_one_listener_is_none_at_another(scene: Scene, owner: str, version: ssl.TLSVersion) -> None:
    """Else who is let in here would be let in there."""
    stranger = client(Identity.root("stranger"), version)
    ports = scene.proxies[owner].ports
    session = visit(ports["untrusted"], stranger).session
    before = scene.count.requests
    for on in ("spiffe", "old", "pinned-required"):
        assert visit(ports[on], stranger, session=session).status == 0
    assert scene.count.requests == before


@both_versions
@pytest.mark.parametrize("key", ["ECDSA", "RSA"])
@needs_openssl
def test_the_certificate_is_one_that_the_client_can_check(scene: Scene, key: str, version: ssl.TLSVersion) -> None:
    algorithms = {"ECDSA": "ECDSA+SHA256", "RSA": "RSA-PSS+SHA256"}[key]
    flag = "-tls1_3" if version is TLS13 else "-tls1_2"
    for name in OWNERS:
        said = _openssl(scene.proxies[name].ports["plain"], flag, "-sigalgs", algorithms)
        assert f"Peer signature type: {'ECDSA' if key == 'ECDSA' else 'RSA-PSS'}" in said, said


@needs_openssl
@pytest.mark.parametrize(
    ("on", "offered", "chosen"),
    [
        ("curves", "P-256", None),
        ("curves", "P-256:P-384", "secp384r1"),
        ("curves", "P-521:X25519", "X25519"),
        ("plain", "P-384:X25519", "X25519"),
        ("plain", "P-256:P-384", "prime256v1"),
        ("plain", "P-384:P-521", None),
    ],
)
@pytest.mark.parametrize("flag", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("owner", OWNERS)
def test_the_key_exchange(scene: Scene, owner: str, on: str, offered: str, chosen: str | None, flag: str) -> None:
    said = _openssl(scene.proxies[owner].ports[on], flag, "-groups", offered)
    found = re.search(r"Server Temp Key: (?:ECDH, )?(\w+)", said)
    assert (found and found[1]) == chosen, said


@needs_openssl
@pytest.mark.parametrize("owner", OWNERS)
def test_signature_algorithms(scene: Scene, owner: str) -> None:
    port = scene.proxies[owner].ports["algorithms"]
    assert "Peer signature type: RSA-PSS" in _openssl(port, "-tls1_3", "-sigalgs", "RSA-PSS+SHA256")
    assert "Cipher is (NONE)" in _openssl(port, "-tls1_3", "-sigalgs", "RSA-PSS+SHA384")


@needs_openssl
@pytest.mark.parametrize("flag", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(
    ("on", "status"),
    [("plain", "no response"), ("stapled", "good"), ("stale", "no response"), ("stale-strict", ""), ("stale-must", "")],
)
@pytest.mark.parametrize("owner", OWNERS)
def test_ocsp_responses(scene: Scene, owner: str, on: str, status: str, flag: str) -> None:
    proxy = scene.proxies[owner]
    asked = _openssl(proxy.ports[on], flag, "-status")
    if status == "good":
        assert "Cert Status: good" in asked, asked
    elif status:
        assert "OCSP response: no response sent" in asked, asked
    else:
        assert "Cipher is (NONE)" in asked, asked
    assert "Cipher is (NONE)" not in _openssl(proxy.ports[on], flag)


@needs_openssl
@pytest.mark.parametrize("flag", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(
    ("name", "algorithms", "shown"),
    [
        ("first.test", "", "first"),
        ("second.test", "", "second"),
        ("second.test", "RSA-PSS+SHA256", "rsa"),
        ("b.wild.test", "", "second"),
        ("a.wild.test", "", "third"),
        ("b.a.wild.test", "", "first"),
        ("wild.test", "", "first"),
        ("common.test", "", "common.test"),
        ("other.test", "", "first"),
        ("", "", "first"),
    ],
)
@pytest.mark.parametrize("owner", OWNERS)
def test_the_certificate_is_for_the_name(
    scene: Scene, owner: str, name: str, algorithms: str, shown: str, flag: str
) -> None:
    asks = ["-servername", name] if name else ["-noservername"]
    likes = ["-sigalgs", algorithms] if algorithms else []
    said = _openssl(scene.proxies[owner].ports["many"], flag, *asks, *likes)
    assert re.search(r"subject=CN ?= ?(\S+)", said)[1] == shown, said  # type: ignore[index]


@needs_openssl
@pytest.mark.parametrize("on", ["spiffe", "old", "pinned", "plain"])
def test_clients_are_told_whose_certificates_are_wanted(scene: Scene, on: str) -> None:
    told = []
    for name in OWNERS:
        said = _openssl(scene.proxies[name].ports[on], "-tls1_3")
        names = said.partition("Acceptable client certificate CA names\n")[2]
        told.append(sorted(re.findall(r"^CN ?= ?.*$", names, re.MULTILINE)))
    assert told[0] == told[1]


@pytest.mark.parametrize(("version", "envoy"), [(TLS12, 90), (TLS13, 172_800)], ids=["1.2", "1.3"])
def test_sessions_end_after_their_time(scene: Scene, version: ssl.TLSVersion, envoy: int) -> None:
    """Envoy's `session_timeout` is about TLS 1.2 only, where BoringSSL has another limit for TLS 1.3."""
    sessions = [visit(scene.proxies[name].ports["short"], client(version=version)).session for name in OWNERS]
    assert [one.ticket_lifetime_hint for one in sessions] == [envoy, 90]


def _openssl(port: int, *flags: str) -> str:
    command = ["openssl", "s_client", "-connect", f"{LOOPBACK}:{port}", *flags]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=20)
    return done.stdout + done.stderr
