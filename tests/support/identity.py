"""Certificates as they should not be: everything that an issuer may say or leave out can be said or left out here."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID, ObjectIdentifier

NOW: Final = datetime.datetime.now(datetime.UTC)
DAY: Final = datetime.timedelta(days=1)
PAST: Final = (NOW - 3 * DAY, NOW - DAY)
PRESENT: Final = (NOW - DAY, NOW + DAY)
FUTURE: Final = (NOW + DAY, NOW + 3 * DAY)


class Identity:
    """A certificate, its key and the certificates that lead to it. It can issue others, whether or not it may."""

    def __init__(self, key: Any, certificate: x509.Certificate, above: tuple[x509.Certificate, ...] = ()) -> None:
        self.key = key
        self.certificate = certificate
        self.chain = (certificate, *above)

    @classmethod
    def root(cls, name: str, *sans: x509.GeneralName, ca: bool = True) -> Identity:
        """One that issued itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, _build(name, key, _name(name), sans, PRESENT, (), ca).sign(key, hashes.SHA256()))

    def issue(
        self,
        name: str,
        *sans: x509.GeneralName,
        days: tuple[datetime.datetime, datetime.datetime] = PRESENT,
        usages: tuple[ObjectIdentifier, ...] = (),
        ca: bool = False,
        rsa_bits: int = 0,
        extensions: tuple[x509.ExtensionType, ...] = (),
    ) -> Identity:
        """A chain ends below the root, which nobody sends."""
        key: Any = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
        builder = _build(name, key, self.certificate.subject, sans, days, usages, ca)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        above = () if self.certificate.issuer == self.certificate.subject else self.chain
        return Identity(key, builder.sign(self.key, hashes.SHA256()), above)

    def alone(self) -> Identity:
        """Without the certificates between it and the root."""
        return Identity(self.key, self.certificate)

    def revoke(self, *others: Identity) -> str:
        """A list of revoked certificates, in PEM."""
        builder = x509.CertificateRevocationListBuilder(self.certificate.subject, NOW - DAY, NOW + DAY)
        for other in others:
            gone = x509.RevokedCertificateBuilder(other.certificate.serial_number, NOW - DAY).build()
            builder = builder.add_revoked_certificate(gone)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

    def vouch(self, other: Identity, days: tuple[datetime.datetime, datetime.datetime] = PRESENT) -> bytes:
        """An OCSP response that says that a certificate is good, in DER."""
        builder = ocsp.OCSPResponseBuilder().add_response(
            other.certificate, self.certificate, hashes.SHA256(), ocsp.OCSPCertStatus.GOOD, *days, None, None
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, self.certificate)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return "".join(one.public_bytes(Encoding.PEM).decode() for one in self.chain)

    @property
    def key_pem(self) -> str:
        form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem: bytes = self.key.private_bytes(*form)
        return pem.decode()

    def save(self, directory: Path, name: str) -> tuple[str, str]:
        """The paths of the chain and of the key."""
        chain, private = directory / f"{name}.pem", directory / f"{name}.key"
        chain.write_text(self.pem)
        private.write_text(self.key_pem)
        return str(chain), str(private)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _build(
    name: str,
    key: Any,
    issuer: x509.Name,
    sans: tuple[x509.GeneralName, ...],
    days: tuple[datetime.datetime, datetime.datetime],
    usages: tuple[ObjectIdentifier, ...],
    ca: bool,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, _name(name), key.public_key(), x509.random_serial_number(), *days)
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder
