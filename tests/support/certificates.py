"""Certificates for tests, made when they are needed."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


class Authority:
    """Issues certificates into a directory: `NAME.pem` and `NAME.key`; its own is `ca.pem`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(f"CA {directory.name}")
        builder = self._builder(self.name, self.key.public_key(), NOW + DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = builder.sign(self.key, hashes.SHA256())
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def _builder(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, end: datetime.datetime
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder(self.name, name, key, x509.random_serial_number())
        return builder.not_valid_before(NOW - 3 * DAY).not_valid_after(end)

    def issue(self, name: str, *sans: x509.GeneralName, expired: bool = False, subject: str = "") -> tuple[str, str]:
        """The paths of the certificate and of its key. `subject` is another common name than that of the files."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name(subject or name), key.public_key(), NOW - DAY if expired else NOW + DAY)
        if sans:
            builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        chain, private = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        chain.write_bytes(certificate.public_bytes(Encoding.PEM))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return str(chain), str(private)

    def revoke(self, *chains: str) -> str:
        """The path of a revocation list with these certificates."""
        builder = x509.CertificateRevocationListBuilder(self.name, NOW - DAY, NOW + DAY)
        for chain in chains:
            serial = x509.load_pem_x509_certificate(Path(chain).read_bytes()).serial_number
            builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, NOW - DAY).build())
        path = self._directory / "crl.pem"
        path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return str(path)
