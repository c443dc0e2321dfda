"""`Identity` and `Issuer`: who a development certificate is for, and what makes it. Pure: no files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 365
# Clocks of containers and hosts differ: a certificate is valid from a little before it was made.
_SKEW = timedelta(minutes=5)
_SPIFFE = re.compile(r"spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+")
_DNS = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Identity:
    """The names in a certificate, and `name`: that of its files."""

    name: str
    uri: str = ""
    dns: str = ""

    @classmethod
    def parse(cls, text: str, trust_domain: str) -> Identity:
        """Read an ID: a SPIFFE URI, a short name or a DNS name. Raises ValueError."""
        if "://" in text:
            segments = text.partition("://")[2].split("/")
            if not _SPIFFE.fullmatch(text) or {".", ".."} & set(segments) or len(text) > 2048:
                raise ValueError(f"{text!r} is no SPIFFE ID: expected spiffe://TRUST-DOMAIN/PATH, like {_like()}")
            return cls("-".join(segments[1:]), uri=text)
        if not _DNS.fullmatch(text) or len(text) > 253 or any(len(label) > 63 for label in text.split(".")):
            raise ValueError(f"{text!r} is neither a SPIFFE ID ({_like()}) nor a DNS name (web, web.example.com)")
        if "." in text:
            return cls(text.replace("*", "_"), dns=text)
        return cls(text, uri=f"spiffe://{trust_domain}/{text}", dns=text)

    def alternatives(self) -> x509.SubjectAlternativeName:
        names: list[x509.GeneralName] = []
        if self.uri:
            names.append(x509.UniformResourceIdentifier(self.uri))
        if self.dns:
            names.append(x509.DNSName(self.dns))
        return x509.SubjectAlternativeName(names)


@dataclass(frozen=True, slots=True)
class Issuer:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, now: datetime) -> Issuer:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pyproxy development CA")])
        builder = _builder(name, key, now, now + timedelta(days=CA_DAYS)).issuer_name(name)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, certificate: bytes, key: bytes) -> Issuer:
        """Read both from PEM. Raises ValueError if they are not a P-256 pair."""
        loaded, private = x509.load_pem_x509_certificate(certificate), serialization.load_pem_private_key(key, None)
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != loaded.public_key():
            raise ValueError("the key does not belong to the certificate")
        return cls(loaded, private)

    def issue(self, identity: Identity, now: datetime, days: int) -> tuple[bytes, bytes]:
        """A leaf and its key, as PEM. It never outlives the CA."""
        key = ec.generate_private_key(ec.SECP256R1())
        until = min(now + timedelta(days=days), self.certificate.not_valid_after_utc)
        # The subject is empty, so the alternative names are critical (RFC 5280, 4.2.1.6).
        builder = _builder(x509.Name([]), key, now, until).issuer_name(self.certificate.subject)
        own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(purposes, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
            .add_extension(identity.alternatives(), critical=True)
        )
        return pem(builder.sign(self.key, hashes.SHA256())), key_pem(key)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _like() -> str:
    return "spiffe://cluster.local/ns/default/sa/web"
