"""Peers of several trust domains: each is checked against the authorities of its own domain and of no other.

SPIFFE X.509-SVID, 5; Envoy: envoy.tls.cert_validator.spiffe. Security posture: an authority can speak for its own
domain only, so one that was broken into gives nobody an identity in another.
"""

from __future__ import annotations

import ssl
from typing import Final

from cryptography import x509

from pyproxy.config.tls import PeerValidation, TrustDomain
from pyproxy.openssl import Presented

_PREFIX: Final = "spiffe://"

# x509_vfy.h
_REJECTED: Final = 28
_NO_ISSUER: Final = 20
_NO_CHECK_TIME: Final = 0x200000


class SpiffeValidator:
    """Decides in the handshake. `pyproxy.openssl.Verify`."""

    def __init__(self, checks: PeerValidation) -> None:
        self._trusts = {domain.name: _trust(domain) for domain in checks.trust_domains}
        self._flags = _NO_CHECK_TIME if checks.allow_expired else 0

    def __call__(self, presented: Presented) -> bool:
        leaf = x509.load_der_x509_certificate(presented.leaf)
        if _may_sign(leaf):
            return presented.refuse(_REJECTED)
        found = self._trusts.get(trust_domain(leaf))
        if found is None:
            return presented.refuse(_NO_ISSUER)
        return presented.issued_by(found, flags=self._flags)


def trust_domain(leaf: x509.Certificate) -> str:
    """Of the first URI among its names; empty where that is no SPIFFE ID with a path. A valid one has only one."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    uri = next(iter(names.get_values_for_type(x509.UniformResourceIdentifier)), "")
    domain, slash, _ = uri.removeprefix(_PREFIX).partition("/")
    return domain if slash and uri.startswith(_PREFIX) else ""


def _may_sign(leaf: x509.Certificate) -> bool:
    extensions = leaf.extensions
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return True
    except x509.ExtensionNotFound:
        pass
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:  # then for anything (RFC 5280 4.2.1.3)
        return True
    return usage.key_cert_sign or usage.crl_sign


def _trust(domain: TrustDomain) -> ssl.SSLContext:
    """Only a store of authorities."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=domain.bundle)
    return context
