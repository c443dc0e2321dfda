from __future__ import annotations

import hashlib
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from pyproxy import openssl
from pyproxy.config.matchers import StringKind, StringMatch
from pyproxy.config.tls import (
    DownstreamTlsConfig,
    PeerValidation,
    SanMatch,
    SessionConfig,
    TlsCertificate,
    TlsConfig,
    UpstreamTlsConfig,
)
from pyproxy.network.transport_sockets.tls import PeerRefused, client_context, server_context, verify_peer
from tests.support.certificates import Authority
from tests.support.identity import Identity


class Peer:
    """As much of an `ssl.SSLObject` as the check looks at."""

    session_reused = False

    def __init__(self, chain: str) -> None:
        self.der = ssl.PEM_cert_to_DER_cert(Path(chain).read_text())

    def getpeercert(self, binary: bool) -> bytes:
        return self.der


@pytest.fixture
def peer(tmp_path: Path) -> Peer:
    sans = (x509.DNSName("*.a.test"), x509.DNSName("b.test\0.evil"), x509.IPAddress(ipaddress.ip_address("::1")))
    return Peer(Authority(tmp_path).issue("a", *sans)[0])


@pytest.mark.parametrize(
    ("kind", "how", "value", "fits"),
    [
        ("DNS", StringKind.EXACT, "x.a.test", True),
        ("DNS", StringKind.EXACT, "x.y.a.test", False),
        ("DNS", StringKind.EXACT, ".a.test", False),
        ("DNS", StringKind.PREFIX, "b.test", False),
        ("DNS", StringKind.REGEX, r".*\.a\.test", True),
        ("DNS", StringKind.REGEX, "a", False),
        ("URI", StringKind.SUFFIX, "a.test", False),
        ("", StringKind.SUFFIX, "a.test", True),
        ("IP_ADDRESS", StringKind.EXACT, "::1", True),
    ],
)
def test_names_count_by_their_kind(peer: Peer, kind: str, how: StringKind, value: str, fits: bool) -> None:
    checks = PeerValidation(sans=(SanMatch(kind, StringMatch(how, value)),))
    if fits:
        verify_peer(peer, checks)
    else:
        with pytest.raises(PeerRefused, match="SAN"):
            verify_peer(peer, checks)


def test_one_pin_of_either_kind_is_enough(peer: Peer) -> None:
    own = frozenset((hashlib.sha256(peer.der).digest(),))
    verify_peer(peer, PeerValidation(certificate_pins=own, spki_pins=frozenset((bytes(32),))))
    with pytest.raises(PeerRefused, match="SPKI"):
        verify_peer(peer, PeerValidation(spki_pins=own))


def test_the_defaults_are_the_safe_ones() -> None:
    context = client_context(UpstreamTlsConfig(TlsConfig()), ())
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    assert all("GCM" in one["name"] or "CHACHA20" in one["name"] for one in context.get_ciphers())


def test_no_list_of_ciphers_makes_keys_weak() -> None:
    context = client_context(UpstreamTlsConfig(TlsConfig(ciphers="ALL:@SECLEVEL=0")), ())
    assert context.security_level == 2
    assert all("Au=None" not in one["description"] for one in context.get_ciphers())


def test_contexts_are_made_where_openssl_cannot_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the ssl module has words for."""
    monkeypatch.setattr(openssl, "usable", lambda: False)
    who = Identity.root("root").issue("a")
    common = TlsConfig((TlsCertificate(who.pem.encode(), who.key_pem.encode()),), alpn=("http/1.1",))
    server = server_context(DownstreamTlsConfig(common, sessions=SessionConfig(tickets=False)), ("http/1.1",))
    assert server.options & ssl.OP_NO_TICKET
    assert client_context(UpstreamTlsConfig(TlsConfig()), ()).verify_mode is ssl.CERT_NONE
