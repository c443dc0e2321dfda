from __future__ import annotations

import pytest
from cryptography import x509

from pyproxy.network.transport_sockets.spiffe import trust_domain
from tests.support.identity import Identity


@pytest.mark.parametrize(
    ("uris", "domain"),
    [
        (("spiffe://one.test/web",), "one.test"),
        (("spiffe://one.test/",), "one.test"),
        (("spiffe://one.test",), ""),
        (("SPIFFE://one.test/web",), ""),
        (("https://one.test/web",), ""),
        (("spiffe:///web",), ""),
        (("a://b", "spiffe://one.test/web"), ""),
        ((), ""),
    ],
)
def test_the_trust_domain_is_that_of_the_first_uri(uris: tuple[str, ...], domain: str) -> None:
    leaf = Identity.root("root").issue("a", x509.DNSName("a.test"), *map(x509.UniformResourceIdentifier, uris))
    assert trust_domain(leaf.certificate) == domain


def test_there_need_not_be_any_names() -> None:
    assert trust_domain(Identity.root("a").certificate) == ""
