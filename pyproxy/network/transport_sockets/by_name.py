"""Which of our certificates a client is shown that names a server. Envoy: several tls_certificates in one context.

The exact name goes first, then a wildcard for its first label, then the first certificate of all; of those for the
name, one for each kind of key, from which OpenSSL takes what the client can check.
"""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pyproxy.config.tls import TlsCertificate

Group = tuple[TlsCertificate, ...]


def first_of_each_kind(certificates: Iterable[TlsCertificate]) -> Group:
    found: dict[bool, TlsCertificate] = {}
    for one in certificates:
        found.setdefault(_is_ecdsa(one), one)
    return tuple(found.values())


def by_name(certificates: Group) -> dict[str, Group]:
    """For each name, and each `*.name`, that some certificate is for."""
    names: dict[str, list[TlsCertificate]] = {}
    for one in certificates:
        for name in _names(one):
            names.setdefault(name, []).append(one)
    return {name: first_of_each_kind(ones) for name, ones in names.items()}


def find(groups: dict[str, Group], name: str) -> Group | None:
    """For the name that a client asks for."""
    name = name.lower().rstrip(".")
    exact = groups.get(name)
    return exact if exact is not None else groups.get(f"*.{name.partition('.')[2]}")


def _names(certificate: TlsCertificate) -> list[str]:
    """Its DNS names, or its common name where it has none."""
    leaf = x509.load_pem_x509_certificate(certificate.chain)
    try:
        sans = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = sans.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        found = []
    if not found:
        found = [str(one.value) for one in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return [name.lower() for name in found]


def _is_ecdsa(certificate: TlsCertificate) -> bool:
    key = x509.load_pem_x509_certificate(certificate.chain).public_key()
    return isinstance(key, ec.EllipticCurvePublicKey)
