"""A certificate authority for one session: P-256 certificates for servers and clients, made when they are needed."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Three files; a leaf's file holds its certificate and its key, which is how HAProxy wants them."""

    ca: Path
    server: Path
    client: Path

    @classmethod
    def at(cls, directory: Path) -> "Certificates":
        """Where they are, whether or not they have been made."""
        return cls(directory / "ca.pem", directory / "server.pem", directory / "client.pem")


def make(directory: Path) -> Certificates:
    """Make what is not there yet."""
    found = Certificates.at(directory)
    if found.ca.exists():
        return found
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("bench authority")
    ca = _builder(ca_name, ca_name, ca_key).add_extension(x509.BasicConstraints(True, None), critical=True)
    for path, name, usage in (
        (found.server, "server", ExtendedKeyUsageOID.SERVER_AUTH),
        (found.client, "client", ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
        leaf = _builder(_name(name), ca_name, key).add_extension(names, critical=False)
        leaf = leaf.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        path.write_bytes(_pem(leaf.sign(ca_key, hashes.SHA256())) + _key_pem(key))
    found.ca.write_bytes(_pem(ca.sign(ca_key, hashes.SHA256())))
    return found


def _name(words: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return builder.serial_number(x509.random_serial_number()).not_valid_before(now - DAY).not_valid_after(now + DAY)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form, safe = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, safe)
