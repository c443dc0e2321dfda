"""TLS as values, for either side. Envoy: envoy.extensions.transport_sockets.tls.v3.

`network.transport_sockets` builds from them. The compile functions are in `config.tls_compile`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pyproxy.config.matchers import StringMatch
from pyproxy.config.proxy_header import ProxyHeaderConfig

if TYPE_CHECKING:
    from pyproxy.config.config_source import ConfigSourceConfig

INLINE: Final = "<inline>"


@dataclass(frozen=True, slots=True)
class TlsCertificate:
    """A certificate with its chain, and its private key; both PEM, and the key without a password."""

    chain: bytes
    private_key: bytes = field(repr=False)
    path: str = INLINE
    """Where the chain stands."""
    ocsp: bytes = field(default=b"", repr=False)
    """An OCSP response in DER, for clients that ask for one."""


@dataclass(frozen=True, slots=True)
class SanMatch:
    """A `SubjectAltNameMatcher`. `kind` is DNS, URI, EMAIL, IP_ADDRESS, or empty for any of them."""

    kind: str
    match: StringMatch


@dataclass(frozen=True, slots=True)
class TrustDomain:
    """A SPIFFE trust domain, and the authorities that speak for it, in PEM."""

    name: str
    bundle: str


@dataclass(frozen=True, slots=True)
class PeerValidation:
    """What the certificate of the peer has to be (`CertificateValidationContext`). Pins are SHA-256 sums."""

    trusted_ca: str = ""
    trusted_ca_path: str = INLINE
    crl: str = ""
    only_leaf_crl: bool = False
    accept_untrusted: bool = False
    sans: tuple[SanMatch, ...] = ()
    spki_pins: frozenset[bytes] = frozenset()
    certificate_pins: frozenset[bytes] = frozenset()
    trust_domains: tuple[TrustDomain, ...] = ()
    """Where there are any, they go in place of `trusted_ca` (Envoy: envoy.tls.cert_validator.spiffe)."""
    allow_expired: bool = False

    @property
    def pinned(self) -> bool:
        return bool(self.spki_pins or self.certificate_pins)


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """What both sides have in common (`CommonTlsContext`). Versions are `ssl.TLSVersion`; 0 means the default."""

    certificates: tuple[TlsCertificate, ...] = ()
    validation: PeerValidation = PeerValidation()
    min_version: int = 0
    max_version: int = 0
    ciphers: str = ""
    groups: str = ""
    """For the key exchange, by OpenSSL's names, best first."""
    signature_algorithms: str = ""
    alpn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A secret that comes from elsewhere (`SdsSecretConfig`). `slot` is its name within this process."""

    source: ConfigSourceConfig
    name: str
    slot: str


@dataclass(frozen=True, slots=True)
class TlsSource:
    """Where a context came from, so that it can be made again when its files or secrets change. `spec` is the
    message."""

    type_name: str
    spec: bytes = field(repr=False)
    files: tuple[str, ...] = ()
    secrets: tuple[SecretRef, ...] = ()
    static_secrets: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    """Secrets of the bootstrap that it names, with what is in them."""


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """How TLS sessions can be resumed: by tickets, and by what is kept here (TLS 1.2 only). 0 seconds: OpenSSL's."""

    tickets: bool = True
    kept: bool = True
    seconds: int = 0
    ticket_key: bytes = field(default=b"", repr=False)
    """Empty: one of our own, that all workers know."""


@dataclass(frozen=True, slots=True)
class DownstreamTlsConfig:
    """A `DownstreamTlsContext`. `ocsp_policy` is LENIENT_STAPLING, STRICT_STAPLING or MUST_STAPLE."""

    common: TlsConfig
    require_client_certificate: bool = False
    sessions: SessionConfig = SessionConfig()
    ocsp_policy: str = "LENIENT_STAPLING"
    prefer_client_ciphers: bool = False
    source: TlsSource | None = None
    pending: bool = False
    """Secrets of it are not here: nobody can be let in."""


@dataclass(frozen=True, slots=True)
class UpstreamTlsConfig:
    """An `UpstreamTlsContext`. `auto_host_sni` sends the host's name where it has one, `auto_sni_san` wants the name
    that was sent in the certificate. `max_sessions` are kept to be resumed, for each name."""

    common: TlsConfig
    sni: str = ""
    auto_host_sni: bool = False
    auto_sni_san: bool = False
    max_sessions: int = 1
    source: TlsSource | None = None
    pending: bool = False
    """Secrets of it are not here: no host can be reached."""


class PassedMetadata(NamedTuple):
    """Metadata of a cluster or of its host, by its namespace (Envoy: MetadataValueSource)."""

    of_host: bool
    name: str


@dataclass(frozen=True, slots=True)
class TransportSocketMatch:
    """The transport socket of hosts whose metadata has all that `criteria` says; `tls` None means plain text."""

    criteria: Mapping[str, Any] = field(hash=False)
    tls: UpstreamTlsConfig | None
    proxy_header: ProxyHeaderConfig | None = None
    """Sent first, and before TLS."""
    passed: tuple[PassedMetadata, ...] = ()
    """What of the metadata goes along to internal listeners."""
