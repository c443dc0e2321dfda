from __future__ import annotations

import pytest
from cryptography import x509

from pyproxy.config.tls import TlsCertificate
from pyproxy.network.transport_sockets.by_name import by_name, find, first_of_each_kind
from tests.support.identity import Identity

ROOT = Identity.root("root")


def certificate(name: str, *dns: str, rsa_bits: int = 0) -> TlsCertificate:
    return TlsCertificate(ROOT.issue(name, *map(x509.DNSName, dns), rsa_bits=rsa_bits).pem.encode(), b"", name)


FIRST = certificate("first.test")
SECOND = certificate("second", "Second.test", "*.wild.test")
SAME = certificate("same", "second.test")
RSA = certificate("rsa", "second.test", rsa_bits=2048)
ALL = (FIRST, SECOND, SAME, RSA)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("first.test", (FIRST,)),
        ("SECOND.test.", (SECOND, RSA)),
        ("a.wild.test", (SECOND,)),
        ("b.a.wild.test", None),
        ("wild.test", None),
        ("", None),
    ],
)
def test_a_name_has_one_certificate_of_each_kind(name: str, found: tuple[TlsCertificate, ...] | None) -> None:
    assert find(by_name(ALL), name) == found


def test_without_a_name_the_first_ones_count() -> None:
    assert first_of_each_kind(ALL) == (FIRST, RSA)
