from __future__ import annotations

from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pyproxy.config.tls import DownstreamTlsConfig, TlsCertificate, TlsConfig
from pyproxy.network.transport_sockets.ocsp import Stapler
from tests.support.identity import PAST, Identity

NAMES = ("requests", "responses", "omitted", "failed")


@pytest.mark.parametrize(
    ("policy", "response", "outcome"),
    [
        ("LENIENT_STAPLING", "fresh", "responses"),
        ("LENIENT_STAPLING", "stale", "omitted"),
        ("LENIENT_STAPLING", "", "omitted"),
        ("STRICT_STAPLING", "fresh", "responses"),
        ("STRICT_STAPLING", "stale", "failed"),
        ("STRICT_STAPLING", "", "omitted"),
        ("MUST_STAPLE", "fresh", "responses"),
        ("MUST_STAPLE", "stale", "failed"),
    ],
)
def test_policies(policy: str, response: str, outcome: str) -> None:
    root = Identity.root("root")
    who = root.issue("a")
    ocsp = b"" if not response else root.vouch(who) if response == "fresh" else root.vouch(who, PAST)
    stats = SimpleNamespace(**{f"ocsp_staple_{name}": SimpleNamespace(value=0) for name in NAMES})
    certificate = TlsCertificate(who.issue("no").pem.encode(), b""), TlsCertificate(who.pem.encode(), b"", ocsp=ocsp)
    stapler = Stapler(DownstreamTlsConfig(TlsConfig(certificate), ocsp_policy=policy), stats)
    shown = stapler(who.certificate.public_bytes(Encoding.DER))
    assert shown == {"responses": ocsp, "omitted": b"", "failed": None}[outcome]
    assert {name: getattr(stats, f"ocsp_staple_{name}").value for name in NAMES} == {
        name: int(name in ("requests", outcome)) for name in NAMES
    }
